"""The loops beside the watch: status writer, resync, sweeper."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from orchestrator_operator.adapters.kubernetes import Conflict, Unavailable
from orchestrator_operator.heard import Heard
from orchestrator_operator.resync import Resync
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS
from orchestrator_operator.statuses import WRITES, StatusWriter, Versions
from orchestrator_operator.sweeper import Sweeper, expires

from orchestrator import steering
from orchestrator.health import Health
from orchestrator.store import Control
from tests.support.cluster import NAMESPACE, Operator
from tests.support.stores import CHAIN, claim_one, end, submission


async def settle(writer: StatusWriter) -> None:
    """Let the writer do all that is due now."""
    while await writer.step():
        await writer.drain()


async def status(operator: Operator, name: str) -> dict[str, Any]:
    body = await operator.kubernetes.get(EXECUTIONS, NAMESPACE, name)
    found: dict[str, Any] = body.get("status", {})
    return found


@pytest.fixture
def versions() -> Versions:
    return Versions()


@pytest.fixture
def writer(operator: Operator, versions: Versions) -> StatusWriter:
    """One that tells everything at once."""
    prompt = timedelta(0)
    return StatusWriter(operator.store, operator.api, operator.clock, versions, NAMESPACE, grace=prompt, parallel=2)


@pytest.fixture
def patient(operator: Operator, versions: Versions) -> StatusWriter:
    """One that lets an execution be over before it tells of its start."""
    return StatusWriter(operator.store, operator.api, operator.clock, versions, NAMESPACE, grace=timedelta(seconds=1))


@pytest.fixture
def sweeper(operator: Operator) -> Sweeper:
    return Sweeper(operator.api, operator.clock)


@pytest.fixture
def resync(operator: Operator) -> Resync:
    return Resync(
        store=operator.store,
        kubernetes=operator.api,
        workflows=operator.workflows,
        executions=operator.executions,
        look=operator.executions.handle,
        health=Health(operator.clock),
        heard=Heard(),
        namespace=NAMESPACE,
    )


class TestStatusWriter:
    async def test_it_says_what_the_store_says(self, operator: Operator, writer: StatusWriter) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        for number in range(5):  # more than are written at once
            await operator.execution(f"e{number}")
        await settle(writer)
        for number in range(5):
            assert (await status(operator, f"e{number}"))["phase"] == "Pending"

    async def test_what_is_written_is_not_written_again(self, operator: Operator, writer: StatusWriter) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        await operator.execution("one")
        await settle(writer)
        operator.kubernetes.calls.clear()
        operator.clock.advance(60)
        await settle(writer)
        assert operator.kubernetes.calls == []

    async def test_an_execution_that_is_over_soon_is_one_write(self, operator: Operator, patient: StatusWriter) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", engine="v2")
        operator.kubernetes.calls.clear()
        await settle(patient)
        claim = await claim_one(operator.store, body["metadata"]["uid"], operator.clock.now())
        await settle(patient)
        await end(operator.store, claim)
        await settle(patient)
        assert operator.kubernetes.calls == [("patch_status", "one")]
        assert (await status(operator, "one"))["phase"] == "Cancelled"  # which is how `end` ends it

    async def test_an_execution_that_takes_longer_is_three_writes_with_its_creation(
        self, operator: Operator, patient: StatusWriter
    ) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", engine="v2")
        operator.kubernetes.calls.clear()
        claim = await claim_one(operator.store, body["metadata"]["uid"], operator.clock.now())
        for _ in range(40):  # it runs for four seconds
            operator.clock.advance(0.1)
            await settle(patient)
        await end(operator.store, claim)
        await settle(patient)
        assert operator.kubernetes.calls == [("patch_status", "one")] * 2

    async def test_one_that_waited_for_a_worker_is_three_writes_too(
        self, operator: Operator, patient: StatusWriter
    ) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", engine="v2")
        operator.kubernetes.calls.clear()
        operator.clock.advance(2)
        await settle(patient)
        assert (await status(operator, "one"))["phase"] == "Pending"
        claim = await claim_one(operator.store, body["metadata"]["uid"], operator.clock.now())
        await settle(patient)
        await end(operator.store, claim)
        await settle(patient)
        assert operator.kubernetes.calls == [("patch_status", "one")] * 2

    async def test_many_changes_are_one_write(self, operator: Operator, writer: StatusWriter) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", engine="v2")
        await settle(writer)
        operator.kubernetes.calls.clear()
        for control in (Control.SUSPEND, Control.RESUME, Control.SUSPEND, Control.CANCEL):
            await operator.store.control(body["metadata"]["uid"], control, operator.clock.now())
        operator.clock.advance(6)
        await settle(writer)
        assert operator.kubernetes.calls == [("patch_status", "one")]

    async def test_a_failed_write_is_repeated_later(self, operator: Operator, writer: StatusWriter) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        await operator.execution("one")
        operator.kubernetes.failures = [Unavailable("no answer")]
        failed = WRITES.labels("error")._value.get()
        await settle(writer)
        assert await status(operator, "one") == {}
        assert WRITES.labels("error")._value.get() == failed + 1
        operator.clock.advance(1)
        await settle(writer)
        assert (await status(operator, "one"))["phase"] == "Pending"

    async def test_a_resource_that_is_gone_cancels_the_execution(
        self, operator: Operator, writer: StatusWriter
    ) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", engine="v2")
        await operator.kubernetes.delete(EXECUTIONS, NAMESPACE, "one")
        await settle(writer)
        record = await operator.store.get(body["metadata"]["uid"])
        assert record is not None
        assert record.cancel_requested

    async def test_another_resource_of_the_same_name_does_not_get_its_status(
        self, operator: Operator, writer: StatusWriter
    ) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", engine="v2")
        await operator.kubernetes.delete(EXECUTIONS, NAMESPACE, "one")
        await operator.kubernetes.create(EXECUTIONS, NAMESPACE, {"metadata": {"name": "one"}, "spec": {}})
        await settle(writer)
        assert await status(operator, "one") == {}
        record = await operator.store.get(body["metadata"]["uid"])
        assert record is not None
        assert record.cancel_requested

    async def test_a_conflict_of_another_kind_cancels_nothing(self, operator: Operator, writer: StatusWriter) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", engine="v2")
        operator.kubernetes.failures = [Conflict("the object has been modified")]
        await settle(writer)
        record = await operator.store.get(body["metadata"]["uid"])
        assert record is not None
        assert not record.cancel_requested

    async def test_an_outdated_version_costs_a_second_try_and_nothing_else(
        self, operator: Operator, writer: StatusWriter, versions: Versions
    ) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", engine="v2")
        versions.note(body)
        await operator.kubernetes.patch(EXECUTIONS, NAMESPACE, "one", {"metadata": {"labels": {"new": "label"}}})
        await settle(writer)
        assert (await status(operator, "one"))["phase"] == "Pending"
        record = await operator.store.get(body["metadata"]["uid"])
        assert record is not None
        assert not record.cancel_requested

    async def test_executions_without_a_resource_are_not_its_business(
        self, operator: Operator, writer: StatusWriter
    ) -> None:
        await operator.store.submit([submission("cli")], operator.clock.now())
        assert not await writer.step()

    async def test_executions_of_another_namespace_are_another_operators_business(
        self, operator: Operator, writer: StatusWriter
    ) -> None:
        await operator.store.submit([submission("elsewhere", name="one")], operator.clock.now())  # in "default"
        assert not await writer.step()
        record = await operator.store.get("elsewhere")
        assert record is not None
        assert not record.cancel_requested

    async def test_a_change_during_the_write_is_not_lost(self, operator: Operator, writer: StatusWriter) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one")  # V1: cancelled at once while it is pending
        await writer.step()  # the write of Pending is in flight
        await operator.store.control(body["metadata"]["uid"], Control.CANCEL, operator.clock.now())
        await settle(writer)
        assert (await status(operator, "one"))["phase"] == "Cancelled"


class TestResync:
    async def test_it_picks_up_what_was_created_while_nobody_watched(self, operator: Operator, resync: Resync) -> None:
        await operator.kubernetes.create(EXECUTIONS, NAMESPACE, {"metadata": {"name": "e"}, "spec": {"workflow": "w"}})
        await operator.kubernetes.create(WORKFLOWS, NAMESPACE, {"metadata": {"name": "w"}, "spec": CHAIN})
        await resync.once()
        assert [record.name for record in await operator.store.active()] == ["e"]

    async def test_it_cancels_what_was_deleted_while_nobody_watched(self, operator: Operator, resync: Resync) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", engine="v2")
        await operator.kubernetes.delete(EXECUTIONS, NAMESPACE, "one")
        await resync.once()
        record = await operator.store.get(body["metadata"]["uid"])
        assert record is not None
        assert record.cancel_requested

    async def test_of_very_many_executions_the_newest_is_compared_too(
        self, operator: Operator, resync: Resync, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(steering, "_PAGE", 2)
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        for number in range(5):
            await operator.execution(f"e{number}", engine="v2")
            operator.clock.advance(1)
        await operator.kubernetes.delete(EXECUTIONS, NAMESPACE, "e4")
        await resync.once()
        assert [record.name for record in await operator.store.active() if record.cancel_requested] == ["e4"]

    async def test_it_leaves_executions_of_the_cli_and_of_other_namespaces_alone(
        self, operator: Operator, resync: Resync
    ) -> None:
        now = operator.clock.now()
        await operator.store.submit([submission("cli"), submission("elsewhere", name="e")], now)  # in "default"
        await resync.once()
        assert [record.cancel_requested for record in await operator.store.active()] == [False, False]

    async def test_a_store_that_was_emptied_under_a_running_operator_is_noticed(
        self, operator: Operator, resync: Resync, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        await operator.execution("one")
        await operator.kubernetes.patch_status(EXECUTIONS, NAMESPACE, "one", {"phase": "Running"})

        async def nothing(*_: Any) -> Any:
            return set()

        async def nobody(*_: Any) -> Any:
            return None

        monkeypatch.setattr(operator.store, "known", nothing)
        monkeypatch.setattr(operator.store, "get", nobody)
        await resync.once()
        assert (await status(operator, "one"))["phase"] == "Unknown"


class TestSweeper:
    def finished(self, ttl: Any, phase: str = "Success") -> dict[str, Any]:
        return {
            "metadata": {"uid": "u", "name": "one", "namespace": NAMESPACE},
            "spec": {"ttlSecondsAfterFinished": ttl},
            "status": {"phase": phase, "finishedAt": "2026-01-01T00:00:00.000Z"},
        }

    def test_its_time_is_over_so_long_after_the_end(self, operator: Operator) -> None:
        assert expires(self.finished(30)) == operator.clock.now() + timedelta(seconds=30)

    @pytest.mark.parametrize(
        ("ttl", "phase"), [(None, "Success"), (30, "Running"), (30, "Unknown"), ("30", "Success"), (True, "Success")]
    )
    def test_without_an_end_or_a_ttl_it_stays(self, ttl: Any, phase: str) -> None:
        assert expires(self.finished(ttl, phase)) is None

    async def test_it_deletes_the_resource_then_and_not_before(self, operator: Operator, sweeper: Sweeper) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", ttlSecondsAfterFinished=30)
        ended = {"phase": "Success", "finishedAt": "2026-01-01T00:00:00Z"}
        body = await operator.kubernetes.patch_status(EXECUTIONS, NAMESPACE, "one", ended)
        sweeper.note(body)
        operator.clock.advance(29)
        await sweeper.step()
        assert await operator.kubernetes.list(EXECUTIONS, NAMESPACE)
        operator.clock.advance(1)
        await sweeper.step()
        assert await operator.kubernetes.list(EXECUTIONS, NAMESPACE) == []

    async def test_a_list_that_is_older_than_the_watch_takes_no_end_back(
        self, operator: Operator, sweeper: Sweeper
    ) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        older = await operator.execution("one", ttlSecondsAfterFinished=30)
        ended = {"phase": "Success", "finishedAt": "2026-01-01T00:00:00Z"}
        sweeper.note(await operator.kubernetes.patch_status(EXECUTIONS, NAMESPACE, "one", ended))
        sweeper.note(older)
        operator.clock.advance(30)
        await sweeper.step()
        assert await operator.kubernetes.list(EXECUTIONS, NAMESPACE) == []

    @pytest.mark.parametrize(("ttl", "phase"), [(None, "Success"), (30, "Unknown")])
    async def test_what_lost_its_time_to_live_stays(
        self, operator: Operator, sweeper: Sweeper, ttl: int | None, phase: str
    ) -> None:
        await operator.kubernetes.create(EXECUTIONS, NAMESPACE, {"metadata": {"name": "one"}, "spec": {}})
        meta = (await operator.kubernetes.get(EXECUTIONS, NAMESPACE, "one"))["metadata"]
        sweeper.note(self.finished(30) | {"metadata": meta})
        sweeper.note(self.finished(ttl, phase) | {"metadata": meta})
        operator.clock.advance(60)
        await sweeper.step()
        assert len(await operator.kubernetes.list(EXECUTIONS, NAMESPACE)) == 1

    async def test_it_never_deletes_another_one_of_the_same_name(self, operator: Operator, sweeper: Sweeper) -> None:
        sweeper.note(self.finished(1))
        await operator.kubernetes.create(EXECUTIONS, NAMESPACE, {"metadata": {"name": "one"}, "spec": {}})
        operator.clock.advance(60)
        await sweeper.step()
        assert len(await operator.kubernetes.list(EXECUTIONS, NAMESPACE)) == 1
