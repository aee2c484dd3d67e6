"""The candidate itself, on a Lease in memory: what it does when its own work or its renewals end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from orchestrator_operator.adapters.kubernetes import Conflict, NotFound, Unavailable
from orchestrator_operator.leadership.leader import Deposed, Leader
from orchestrator_operator.leadership.record import ASKS, identity

from orchestrator.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator_operator.adapters.leases import Leases

    Notes = Mapping[str, str | None]

DURATION = 1


class Lease:
    """One Lease as the API server keeps it: a write without the right version is refused."""

    name = "orchestrator-operator"

    def __init__(self) -> None:
        self.body: dict[str, Any] | None = None
        self.trouble: Callable[[], None] = lambda: None  # raises what a renewal ends in

    async def get(self) -> dict[str, Any]:
        if self.body is None:
            raise NotFound("no Lease yet", status=404)
        return self.body

    async def create(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        if self.body is not None:
            raise Conflict("it is there", status=409)
        self.body = {"metadata": {"resourceVersion": "1"}, "spec": dict(spec)}
        return self.body

    async def replace(self, spec: Mapping[str, Any], version: str, notes: Notes) -> dict[str, Any]:
        self.trouble()
        return self._write(spec, version, notes)

    async def note(self, version: str, notes: Notes) -> dict[str, Any]:
        return self._write({}, version, notes)

    def _write(self, spec: Mapping[str, Any], version: str, notes: Notes) -> dict[str, Any]:
        assert self.body is not None
        meta = self.body["metadata"]
        if meta["resourceVersion"] != version:
            raise Conflict("changed", status=409)
        kept = {**meta.get("annotations", {}), **notes}
        annotations = {key: value for key, value in kept.items() if value is not None}
        self.body = {
            "metadata": {"resourceVersion": str(int(version) + 1), "annotations": annotations},
            "spec": {**self.body["spec"], **spec},
        }
        return self.body


def candidate(lease: Lease, name: str) -> Leader:
    return Leader(cast("Leases", lease), identity(name, "1"), DURATION, SystemClock())


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_renewals_that_end_in_what_nobody_foresaw_end_the_work_too() -> None:
    """Else it would go on as the leader of nothing: every write refused, no end, and no next one told."""
    lease = Lease()

    def trouble() -> None:
        raise ValueError("a defect")

    lease.trouble = trouble
    with pytest.raises(ValueError, match="a defect"):
        await asyncio.wait_for(candidate(lease, "a").lead(for_ever), 10)


async def test_renewals_that_fail_until_it_is_too_late_end_the_work() -> None:
    lease = Lease()

    def trouble() -> None:
        raise Unavailable("no answer")

    lease.trouble = trouble
    with pytest.raises(Deposed):
        await asyncio.wait_for(candidate(lease, "a").lead(for_ever), 10)


async def test_one_that_leads_no_more_does_not_wait_for_what_hangs() -> None:
    """Of what is under way nothing would be accepted, and until it has ended it cannot be a candidate."""
    lease, hanging = Lease(), asyncio.Event()

    def trouble() -> None:
        raise Unavailable("no answer")

    async def act() -> None:
        try:
            await for_ever()
        finally:
            await hanging.wait()  # as a request whose answer is lost

    lease.trouble = trouble
    with pytest.raises(Deposed):
        await asyncio.wait_for(candidate(lease, "a").lead(act), 10)
    hanging.set()


async def test_work_that_ends_gives_the_lease_back() -> None:
    lease = Lease()

    async def at_once() -> None: ...

    await candidate(lease, "a").lead(at_once)
    assert lease.body is not None
    assert lease.body["spec"]["holderIdentity"] == ""


async def yes() -> bool:
    return True


async def led(leader: Leader) -> asyncio.Task[None]:
    """A leader at work."""
    working = asyncio.Event()

    async def act() -> None:
        working.set()
        await for_ever()

    task = asyncio.create_task(leader.lead(act))
    await working.wait()
    return task


async def test_a_leader_that_lacks_its_store_hands_over_to_one_that_has_it() -> None:
    lease = Lease()
    first, second = candidate(lease, "a"), candidate(lease, "b")
    first.lacks, second.able = lambda: "store: nothing for 31 s", yes
    leading = await led(first)
    await asyncio.wait_for(second.take(), 10)
    assert not first.leads
    assert second.leads
    with pytest.raises(Deposed, match="b_1 asked for it: store: nothing for 31 s"):
        await leading


async def test_the_one_that_hands_over_ends_its_work_before_the_next_one_begins() -> None:
    lease = Lease()
    first, second = candidate(lease, "a"), candidate(lease, "b")
    first.lacks, second.able = lambda: "store: nothing for 31 s", yes
    ended: list[bool] = []
    working = asyncio.Event()

    async def act() -> None:
        working.set()
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)
            ended.append(second.leads)

    leading = asyncio.create_task(first.lead(act))
    await working.wait()
    await second.take()
    assert ended == [False]
    await asyncio.gather(leading, return_exceptions=True)


async def test_a_leader_that_lacks_its_store_stays_where_nobody_has_it() -> None:
    lease = Lease()
    first, second = candidate(lease, "a"), candidate(lease, "b")
    first.lacks = lambda: "store: nothing for 31 s"
    leading = await led(first)
    waiting = asyncio.create_task(second.take())
    done, _ = await asyncio.wait({waiting, leading}, timeout=3 * DURATION)
    assert not done
    assert first.leads
    for task in (waiting, leading):
        task.cancel()
    await asyncio.gather(waiting, leading, return_exceptions=True)


async def test_a_leader_that_lacks_nothing_any_more_stays_though_it_was_asked() -> None:
    lease = Lease()
    first = candidate(lease, "a")
    leading = await led(first)
    assert lease.body is not None
    version = lease.body["metadata"]["resourceVersion"]
    await lease.note(version, {ASKS: "b_1"})
    while ASKS in lease.body["metadata"]["annotations"]:  # heard, and taken off by the next renewal
        await asyncio.sleep(0.01)
    assert first.leads
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
