"""The story of the demo, act by act. Each act waits for what it is about; what does not happen in time ends the story.

The acts only make things happen and note when; whether everything was seen is judged afterwards by `checks`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx

from orchestrator_operator.demo import books, screen
from orchestrator_operator.demo.facts import Facts, made_after
from orchestrator_operator.demo.ledger import Summary
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from orchestrator_operator.demo.facts import Sighting
    from orchestrator_operator.demo.show import Show
    from orchestrator_operator.demo.stack import Stack
    from orchestrator_operator.demo.traffic import Traffic
    from orchestrator_operator.demo.watch import Watcher

GOOD, BAD = "v2", "v2-failing"
FAULT_SHARE = 0.5  # of V2's requests; deploy/samples/rollout-failing.yaml says what follows from it

_WORKFLOWS = ("order-fulfilment.yaml", "fan-out.yaml")
_TOO_NEW = 50  # of the newest executions are left out of a listing: two seconds' worth, which have hardly begun
_MIXED = 12.0  # seconds at 50 % after which kubectl shows both engines at work
_WARM_UP = 8.0  # seconds of traffic on V1 alone before the first rollout
_COMPLETE = 240.0  # seconds for a plan of four times 30
_CONVICT = 150.0
_DRAIN = 90.0
_AFTERMATH = 12.0  # seconds of traffic after the rollback
_REST = 60.0


class Stuck(Exception):
    """Something that the story waits for did not happen in time."""


@dataclass(slots=True)
class Notes:
    """When things happened: `elapsed` seconds since the traffic began, and the wall clock where the store is asked."""

    began: datetime | None = None
    faults_at: float = 0.0
    faults_moment: datetime | None = None
    deleted_at: float = 0.0
    gone_moment: datetime | None = None
    stuck: str = ""


class Story:
    """One performance on a stack that is up."""

    def __init__(self, stack: Stack, show: Show, watcher: Watcher, traffic: Traffic) -> None:
        self._stack, self._show, self._watcher, self._traffic = stack, show, watcher, traffic
        self.notes = Notes()

    async def play(self) -> None:
        """All acts. When one is stuck the rest is left out, and `notes.stuck` says why."""
        try:
            for act in (self._workflows, self._stream, self._roll_out, self._delete, self._fail, self._aftermath):
                await act()
        except Stuck as stuck:
            self.notes.stuck = str(stuck)
            self._show.note(f"✗ {stuck}")
        await self._traffic.stop()
        await self._come_to_rest()

    async def _workflows(self) -> None:
        self._show.begin("Two workflows", "kubectl apply -f deploy/samples/order-fulfilment.yaml -f …/fan-out.yaml")
        self._show.note(await self._stack.apply(*_WORKFLOWS))
        async with _within(30, "the operator did not find both Workflows valid within 30 s"):
            await _poll(self._all_valid, 0.2)

    async def _stream(self) -> None:
        self._show.begin(
            "A stream of executions, all on V1",
            "Every Execution is a custom resource with its own input; the shop refuses three orders in a hundred.",
        )
        self._traffic.start()
        self.notes.began = datetime.now(UTC)
        self._watcher.start()
        await self._wait(lambda seen: seen.flag is not None, 30, "the API server did not show the flag")
        self._show.follow(self._frame)
        await asyncio.sleep(_WARM_UP)

    async def _roll_out(self) -> None:
        self._show.begin(
            "Rollout 1: V2 takes over in four weeks of 30 seconds",
            "Half a minute of traffic cannot prove that V2 is no worse: a Pass needs hundreds of failures to compare. "
            "In production such a stage waits for a person; this one says `underpowered: Promote`, and goes on as long "
            "as nothing speaks against V2.",
        )
        await self._stack.apply("rollout.yaml")
        await self._wait(
            lambda seen: seen.flag_percent == "50" or seen.phase in ("Completed", "RolledBack"),
            _COMPLETE,
            f"rollout {GOOD} did not reach 50 %",
        )
        await asyncio.sleep(_MIXED)
        self._show.listing(await self._stack.newest(15, skipped=_TOO_NEW))
        await self._see(GOOD, ("Completed", "RolledBack"), _COMPLETE)
        await asyncio.sleep(3)  # a few executions by `true` alone

    async def _delete(self) -> None:
        self._show.begin("Rollout 1 is deleted", "deletionPolicy: Clear takes the flag away with it.")
        self.notes.deleted_at = self._elapsed()
        await self._stack.kubectl("delete", "enginerollout", GOOD, "--wait=false")
        await self._wait(lambda seen: seen.flag == {}, 30, "the flag was not cleared after rollout 1 was deleted")
        await self._wait(lambda seen: seen.rollout != GOOD, 30, "rollout 1 did not go away")
        async with _within(30, "V2's executions did not end within 30 s"):
            await _poll(self._nothing_on_v2, 0.5)

    async def _fail(self) -> None:
        self._show.begin(
            "Rollout 2: the same plan, but V2 really fails",
            f"The shop refuses {FAULT_SHARE:.0%} of V2's requests from now on.",
        )
        await self._stack.set_faults(FAULT_SHARE)
        self.notes.faults_at, self.notes.faults_moment = self._elapsed(), datetime.now(UTC)
        await self._stack.apply("rollout-failing.yaml")
        await self._see(BAD, ("RollingBack", "RolledBack"), _CONVICT)
        await self._wait(lambda seen: seen.flag == {}, 30, "the flag was not cleared")
        self.notes.gone_moment = datetime.now(UTC)

    async def _aftermath(self) -> None:
        self._show.begin("Rolled back", "New executions start on V1; those in flight on V2 drain.")
        await self._see(BAD, ("RolledBack",), _DRAIN)
        await asyncio.sleep(_AFTERMATH)

    async def _come_to_rest(self) -> None:
        """Wait until nothing runs any more: the books are read then."""
        self._show.begin("The stream ends; waiting until nothing runs")
        try:
            async with asyncio.timeout(_REST):
                await _poll(self._nothing_runs, 0.5)
        except TimeoutError:
            self._show.note("some executions are still unfinished")

    async def _all_valid(self) -> bool:
        valid = await self.workflows()
        return len(valid) == len(_WORKFLOWS) and all(valid.values())

    async def _nothing_on_v2(self) -> bool:
        return not await asyncio.to_thread(books.unfinished, self._stack.store, ("v2",))

    async def _nothing_runs(self) -> bool:
        return not await asyncio.to_thread(books.unfinished, self._stack.store)

    # -- facts
    async def facts(self) -> Facts:
        """Everything that was seen, for the claims to be judged by."""
        notes, began = self.notes, self.notes.began or datetime.now(UTC)
        read = await asyncio.to_thread(
            books.read,
            self._stack.store,
            self._stack.ledger,
            began=began,
            faults_at=notes.faults_moment or datetime.now(UTC),
            gone_at=notes.gone_moment,
        )
        engines = await asyncio.to_thread(books.engines, self._stack.store)
        executions = await self._stack.kubernetes.list(EXECUTIONS, self._stack.namespace)
        return Facts(
            workflows=await self.workflows(),
            sightings=tuple(self._watcher.sightings),
            sent=self._traffic.sent(),
            resources=len(executions),
            books=read,
            after_rollback=made_after(notes.gone_moment, executions, engines),
            ledger=await self._ledger(),
            forbidden=await self._stack.forbidden(),
            faults_at=notes.faults_at,
            good=GOOD,
            bad=BAD,
            deleted_at=notes.deleted_at,
        )

    async def workflows(self) -> Mapping[str, bool]:
        """The sample Workflows by name, and whether the operator says that they are valid."""
        found = await self._stack.kubernetes.list(WORKFLOWS, self._stack.namespace)
        return {body["metadata"]["name"]: _is_true(body, "Valid") for body in found}

    async def _ledger(self) -> Summary:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{self._stack.shop}/ledger", timeout=10)
        return Summary(**answer.json())

    # -- waiting
    async def _see(self, rollout: str, phases: tuple[str, ...], timeout: float) -> None:
        wanted = " or ".join(phases)

        def seen(sighting: Sighting) -> bool:
            return sighting.rollout == rollout and sighting.phase in phases

        await self._wait(seen, timeout, f"rollout {rollout} did not become {wanted}")

    async def _wait(self, seen: Callable[[Sighting], bool], timeout: float, otherwise: str) -> None:
        async with _within(timeout, f"{otherwise} within {timeout:.0f} s"):
            await self._watcher.until(seen)

    def _elapsed(self) -> float:
        return self._traffic.elapsed()

    def _frame(self) -> screen.Frame:
        return screen.Frame(
            elapsed=self._elapsed(),
            act=self._show.act,
            sighting=self._watcher.latest,
            sent=self._traffic.sent(),
            meters=self._watcher.meters,
        )


async def _poll(condition: Callable[[], Awaitable[bool]], every: float) -> None:
    """Return when it holds."""
    while not await condition():  # noqa: ASYNC110 - what other processes do can only be asked for
        await asyncio.sleep(every)


@contextlib.asynccontextmanager
async def _within(seconds: float, otherwise: str) -> AsyncIterator[None]:
    """Stuck, with that sentence, when the body takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Stuck(otherwise) from None


def _is_true(body: Mapping[str, Any], condition: str) -> bool:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == condition and one.get("status") == "True" for one in conditions)
