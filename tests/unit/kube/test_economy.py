"""What many executions cost: questions to the store and requests to the API server, counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orchestrator_operator.handlers.lookups import Lookups
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS
from orchestrator_operator.statuses import StatusWriter, Versions
from orchestrator_operator.sweeper import Sweeper

from tests.support.cluster import NAMESPACE, Operator, document
from tests.support.stores import CHAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

_MANY = 60


class Counted:
    """A store that counts what it is asked."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._store, name)


async def _bodies(operator: Operator) -> Sequence[dict[str, Any]]:
    await operator.apply(WORKFLOWS, "chain", CHAIN)
    spec = {"workflow": "chain", "input": {"n": 1}}
    names = [f"e{number}" for number in range(_MANY)]
    return [await operator.kubernetes.create(EXECUTIONS, NAMESPACE, document(EXECUTIONS, name, spec)) for name in names]


async def test_many_new_executions_share_their_questions_and_their_commits(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = await _bodies(operator)
    counted: Any = Counted(operator.store)
    monkeypatch.setattr(operator.executions, "_store", counted)
    monkeypatch.setattr(operator.executions, "_lookups", Lookups(counted))
    before = operator.submissions.flushes
    await asyncio.gather(*(operator.executions.handle(body) for body in bodies))
    assert len(await operator.store.active(limit=_MANY)) == _MANY
    assert "get" not in counted.asked
    assert counted.asked.count("known") <= _MANY // 10
    assert operator.submissions.flushes - before <= _MANY // 10


async def test_what_is_known_and_settled_asks_nobody(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = await _bodies(operator)
    await asyncio.gather(*(operator.executions.handle(body) for body in bodies))
    counted: Any = Counted(operator.store)
    monkeypatch.setattr(operator.executions, "_store", counted)
    monkeypatch.setattr(operator.executions, "_lookups", Lookups(counted))
    operator.kubernetes.calls.clear()
    await asyncio.gather(*(operator.executions.handle(body) for body in bodies))
    assert counted.asked == []
    assert operator.kubernetes.calls == []


async def test_while_there_is_more_to_write_no_poll_is_waited_for(operator: Operator) -> None:
    bodies = await _bodies(operator)
    await asyncio.gather(*(operator.executions.handle(body) for body in bodies))
    operator.clock.advance(60)
    writer = StatusWriter(operator.store, operator.api, operator.clock, Versions(), NAMESPACE, parallel=2, poll=3600.0)
    running = asyncio.create_task(writer.run())
    async with asyncio.timeout(60):
        while not all("status" in body for body in await operator.kubernetes.list(EXECUTIONS, NAMESPACE)):
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len([call for call in operator.kubernetes.calls if call[0] == "patch_status"]) == _MANY + 1  # the Workflow's


async def test_a_burst_of_ends_is_deleted_several_at_a_time(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper = Sweeper(operator.api, operator.clock)
    under_way = most = 0
    for body in await _bodies(operator):
        body["spec"]["ttlSecondsAfterFinished"] = 0
        body["status"] = {"phase": "Success", "finishedAt": "2020-01-01T00:00:00Z"}
        sweeper.note(body)
    delete = operator.kubernetes.delete

    async def slowly(*given: Any, **named: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        await delete(*given, **named)
        under_way -= 1

    monkeypatch.setattr(operator.kubernetes, "delete", slowly)
    await sweeper.step()
    assert await operator.kubernetes.list(EXECUTIONS, NAMESPACE) == []
    assert most > 1
