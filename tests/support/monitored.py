"""A store in which something happened: what monitoring SQL, reports and support bundles are tried on.

ok      just now: a step that was retried, and a checkpoint that took 150.5 ms
bad     just now: failed
slow    running for twenty minutes, one step done
legacy  on V1, not begun
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator.decide import project
from orchestrator.fold import apply, fold
from orchestrator.model import Engine, Failure, Status
from orchestrator.store import V1Update, open_store
from tests.support.stores import append, decision, projection, submission, workflow

if TYPE_CHECKING:
    from orchestrator.store import Claim, Store

FAILURE = Failure("HttpStatus", "503", retryable=True, node="a")


class History:
    """Writes one execution's events, one append each."""

    def __init__(self, store: Store, claim: Claim) -> None:
        self._store, self._claim = store, claim
        self._timed: int | None = None

    async def record(self, event: e.Event, previous_took_ms: float | None = None) -> None:
        state = apply(fold(self._claim.id, await self._store.events(self._claim.id)), event)
        new = append(
            self._claim,
            event,
            first_seq=state.seq,
            projection=project(workflow(), state),
            timed_append=self._timed if previous_took_ms is not None else None,
            timed_ms=previous_took_ms,
        )
        await self._store.append([new])
        self._timed = state.seq


async def fill(
    url: str, *, schema: str = "public", failure: Failure = FAILURE, payload: Any = 1, **keys: str
) -> datetime:
    """Tell the story in a new database; returns its `now`. `payload` stands wherever users put values of theirs; `keys`
    are fields of the legacy one's submission.
    """
    store = await open_store(url, schema=schema)
    now = datetime.now(UTC)
    old = now - timedelta(minutes=20)

    async def begun(id_: str, at: datetime) -> History:
        judged = {"percent": "25", "attempt": decision(1).attempt, "ages": (60.0,)}
        new = submission(id_, log_line=f"Usando Orchestrator V2 execution={id_}", **judged)
        await store.submit([replace(new, input={"value": payload})], at)
        claims = await store.claim("w", Engine.V2, 10, timedelta(days=1), at)
        return History(store, next(claim for claim in claims if claim.id == id_))

    slow = await begun("slow", old)
    await slow.record(e.StepCompleted(old, "a", "transform", 1, {"x": payload}, old, 1.0))
    ok = await begun("ok", now)
    await ok.record(e.StepFailed(now, "a", "transform", 1, failure, now, 1.0, now))
    await ok.record(e.StepCompleted(now, "a", "transform", 2, {"x": payload}, now, 1.0))
    await ok.record(e.StepCompleted(now, "b", "http", 1, {"y": payload}, now, 1.0), 150.5)
    await ok.record(e.ExecutionSucceeded(now, {"y": payload}), 3.25)
    bad = await begun("bad", now)
    await bad.record(e.StepFailed(now, "a", "transform", 1, failure, now, 1.0, None))
    await bad.record(e.ExecutionFailed(now, failure))
    await store.log_edge([f"ERROR execution bad: {failure.kind}: {failure.message}"], now)
    await store.log_edge(["ERROR of long ago"], old)
    legacy = submission("legacy", engine=Engine.V1, log_line="Usando Orchestrator V1 execution=legacy")
    await store.submit([replace(legacy, input={"value": payload}, **keys)], now)
    while await store.count_cohorts(now + timedelta(minutes=2)):
        pass
    for number in (1, 2):
        await store.append_decision(replace(decision(number), at=now))
    await store.close()
    return now


async def end_one_on_v1(url: str) -> None:
    """What V1 did: one more execution, which just succeeded."""
    store = await open_store(url)
    now = datetime.now(UTC)
    line = "Usando Orchestrator V1 execution=legacy-2"
    await store.submit([submission("legacy-2", engine=Engine.V1, log_line=line)], now)
    end = projection(Status.SUCCESS, started_at=now, finished_at=now)
    await store.v1_update([V1Update("legacy-2", end, None)])
    await store.close()
