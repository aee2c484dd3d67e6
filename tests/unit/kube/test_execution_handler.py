"""Executions through the handlers: a fake API server, a real store."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.adapters.kubernetes import Unavailable
from orchestrator_operator.leadership.leader import Deposed
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS
from orchestrator_operator.specs.conditions import find

from orchestrator.flag import FlagValues
from orchestrator.model import Engine, Status
from orchestrator.store import Control
from orchestrator.telemetry import DECISIONS
from tests.support.cluster import NAMESPACE, Operator, document
from tests.support.stores import CHAIN

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.store import ExecutionRecord, Store


async def record(operator: Operator, body: dict[str, Any]) -> ExecutionRecord:
    found = await operator.store.get(body["metadata"]["uid"])
    assert found is not None
    return found


def accepted(body: dict[str, Any]) -> dict[str, Any]:
    return find(body.get("status"), "Accepted") or {}


class TestRouting:
    async def test_it_is_stored_under_its_uid_and_name(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        found = await record(operator, await operator.execution("one"))
        assert (found.name, found.workflow_id, found.status) == ("one", f"{NAMESPACE}/chain", Status.PENDING)

    async def test_the_flag_decides_and_the_line_that_queries_look_for_is_in_edge_logs(
        self, operator: Operator
    ) -> None:
        before = DECISIONS.labels("v2", "FlagOn")._value.get()
        operator.flag.values = FlagValues("true")
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        found = await record(operator, await operator.execution("one"))
        assert found.engine is Engine.V2
        lines = await operator.store.edge_logs(operator.clock.now() - timedelta(minutes=1), "Usando Orchestrator V2")
        assert [f"execution={NAMESPACE}/one" in line for _, line in lines] == [True]
        assert DECISIONS.labels("v2", "FlagOn")._value.get() == before + 1

    async def test_without_the_flag_it_is_v1(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        assert (await record(operator, await operator.execution("one"))).engine is Engine.V1

    async def test_an_explicit_engine_is_obeyed(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        found = await record(operator, await operator.execution("one", engine="v2"))
        assert (found.engine, found.assignment.value) == (Engine.V2, "explicit")

    async def test_the_rollouts_attempt_is_written_on_it(self, operator: Operator) -> None:
        operator.flag.attempt, operator.flag.ages = "abc-1", (60.0,)
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        found = await record(operator, await operator.execution("one"))
        assert (found.attempt, found.percent) == ("abc-1", "0")

    async def test_seen_twice_it_is_submitted_and_logged_once(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one")
        await asyncio.gather(*(operator.executions.handle(body) for _ in range(5)))
        lines = await operator.store.edge_logs(operator.clock.now() - timedelta(minutes=1), "Usando")
        assert len(lines) == 1


class TestRefused:
    async def test_the_condition_and_the_event_name_the_field(self, operator: Operator) -> None:
        body = await operator.execution("one", workflow="nowhere")
        assert body["status"]["phase"] == "Pending"
        assert (accepted(body)["status"], accepted(body)["reason"]) == ("False", "WorkflowNotFound")
        assert accepted(body)["message"].startswith("spec.workflow: ")
        assert operator.kubernetes.told("WorkflowNotFound") == [accepted(body)["message"]]

    async def test_seen_again_nothing_is_written_again(self, operator: Operator) -> None:
        await operator.execution("one", workflow="nowhere")
        operator.kubernetes.calls.clear()
        await operator.look(EXECUTIONS, "one")
        assert operator.kubernetes.calls == []

    async def test_it_starts_when_its_workflow_appears(self, operator: Operator) -> None:
        body = await operator.execution("one")
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        assert (await record(operator, body)).status is Status.PENDING

    async def test_it_starts_when_its_workflow_becomes_valid(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", {"nodes": []})
        body = await operator.execution("one")
        assert accepted(body)["reason"] == "WorkflowInvalid"
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        assert (await record(operator, body)).status is Status.PENDING

    async def test_a_workflow_that_the_watch_has_not_told_of_yet_is_looked_up(self, operator: Operator) -> None:
        document = {"metadata": {"name": "chain"}, "spec": CHAIN}
        await operator.kubernetes.create(WORKFLOWS, NAMESPACE, document)
        assert await record(operator, await operator.execution("one"))

    async def test_a_second_one_with_its_key_names_the_first(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        await operator.execution("one", idempotencyKey="k")
        body = await operator.execution("two", idempotencyKey="k")
        assert accepted(body)["reason"] == "DuplicateIdempotencyKey"
        assert "'one'" in accepted(body)["message"]
        assert await operator.store.get(body["metadata"]["uid"]) is None

    async def test_input_that_no_store_can_keep(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", input={"n": "\0"})
        assert accepted(body)["reason"] == "InvalidInput"
        assert accepted(body)["message"].startswith("spec.input")

    async def test_malformed_in_every_way_it_is_quarantined_and_nothing_crashes(self, operator: Operator) -> None:
        odd: list[Any] = [None, [], "x", {"workflow": 3}, {"workflow": {"a": 1}, "input": []}]
        for number, spec in enumerate(odd):
            body = await operator.apply(EXECUTIONS, f"odd-{number}", spec)
            assert accepted(body)["status"] == "False"

    async def test_a_defect_of_ours_becomes_a_condition(
        self, operator: Operator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: Any) -> None:
            raise ZeroDivisionError("of all things")

        monkeypatch.setattr("orchestrator_operator.handlers.execution.decide", broken)
        body = await operator.execution("one")
        assert accepted(body)["reason"] == "Quarantined"
        assert "of all things" in accepted(body)["message"]


class TestRestored:
    async def test_an_empty_store_runs_nothing_that_was_accepted_before(
        self, operator: Operator, sqlite: Store
    ) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        await operator.execution("one")
        status = {"phase": "Running", "engine": "v2", "conditions": [{"type": "Accepted", "status": "True"}]}
        await operator.kubernetes.create(EXECUTIONS, NAMESPACE, {"metadata": {"name": "old"}, "spec": {}})
        await operator.kubernetes.patch_status(EXECUTIONS, NAMESPACE, "old", status)
        body = await operator.look(EXECUTIONS, "old")
        assert (body["status"]["phase"], body["status"]["reason"]) == ("Unknown", "StoreMissing")
        assert "was Running" in body["status"]["message"]
        assert [found.name for found in await sqlite.active()] == ["one"]

    async def test_how_it_ended_stays_told(self, operator: Operator) -> None:
        ended = {"type": "Succeeded", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        await operator.kubernetes.create(EXECUTIONS, NAMESPACE, {"metadata": {"name": "old"}, "spec": {}})
        await operator.kubernetes.patch_status(
            EXECUTIONS, NAMESPACE, "old", {"phase": "Success", "conditions": [ended]}
        )
        body = await operator.look(EXECUTIONS, "old")
        assert body["status"]["phase"] == "Unknown"
        assert body["status"]["conditions"] == [ended]

    async def test_older_than_the_store_it_waits_until_a_person_resumes_it_once(self, operator: Operator) -> None:
        operator.executions._epoch = operator.clock.now() + timedelta(hours=1)
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        note = "orchestrator.dev/resume"
        spec = {"workflow": "chain", "input": {"n": 1}, "engine": "v2"}
        body = await operator.apply(EXECUTIONS, "one", spec, annotations={note: "old"})
        assert (await record(operator, body)).status is Status.SUSPENDED
        await operator.look(EXECUTIONS, "one")
        assert (await record(operator, body)).suspend_requested
        body = await operator.apply(EXECUTIONS, "one", spec, annotations={note: "new"})
        assert body["status"]["handled"] == {"resume": "new"}
        assert not (await record(operator, body)).suspend_requested

    async def test_the_annotation_is_remembered_before_the_commit(
        self, operator: Operator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operator.executions._epoch = operator.clock.now() + timedelta(hours=1)
        await operator.apply(WORKFLOWS, "chain", CHAIN)

        async def crash(_: Any) -> Any:
            raise KeyboardInterrupt  # the process dies here

        monkeypatch.setattr(operator.submissions, "put", crash)
        with pytest.raises(KeyboardInterrupt):
            await operator.apply(
                EXECUTIONS, "one", {"workflow": "chain"}, annotations={"orchestrator.dev/resume": "old"}
            )
        body = await operator.kubernetes.get(EXECUTIONS, NAMESPACE, "one")
        assert body["status"] == {"handled": {"resume": "old"}}

    async def test_a_store_that_came_back_repairs_the_status(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        await operator.execution("one")
        await operator.kubernetes.patch_status(
            EXECUTIONS, NAMESPACE, "one", {"phase": "Unknown", "reason": "StoreMissing", "message": "…"}
        )
        body = await operator.look(EXECUTIONS, "one")
        assert body["status"]["phase"] == "Pending"
        assert "reason" not in body["status"]


class TestSteered:
    async def test_suspend_is_passed_on(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        spec = {"workflow": "chain", "input": {"n": 1}, "engine": "v2"}
        await operator.apply(EXECUTIONS, "one", spec)
        body = await operator.apply(EXECUTIONS, "one", spec | {"suspend": True})
        assert (await record(operator, body)).suspend_requested
        body = await operator.apply(EXECUTIONS, "one", spec | {"suspend": False})
        assert not (await record(operator, body)).suspend_requested

    async def test_cancel_is_passed_on(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        await operator.execution("one", engine="v2")
        body = await operator.execution("one", engine="v2", cancel=True)
        assert (await record(operator, body)).cancel_requested

    async def test_a_deleted_one_is_cancelled(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", engine="v2")
        await operator.executions.gone(body)
        assert (await record(operator, body)).cancel_requested

    async def test_one_that_is_being_deleted_is_cancelled(self, operator: Operator) -> None:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        body = await operator.execution("one", engine="v2")
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        await operator.executions.handle(body)
        assert (await record(operator, body)).cancel_requested

    async def test_a_deleted_one_that_was_refused_starts_no_more(self, operator: Operator) -> None:
        body = await operator.execution("one")
        await operator.executions.gone(body)
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        assert await operator.store.active() == []


class TestDeposed:
    """Another operator leads by now, and may have passed on something else: its last word must stay the last."""

    @pytest.mark.parametrize("change", [{"suspend": True}, {"cancel": True}])
    async def test_what_it_saw_before_it_was_deposed_is_not_passed_on(
        self, operator: Operator, change: dict[str, Any]
    ) -> None:
        body = await self.running(operator)
        changed = await operator.kubernetes.patch(EXECUTIONS, NAMESPACE, "one", {"spec": change})
        operator.kubernetes.gate = deposed
        await operator.executions.handle(changed)
        found = await record(operator, body)
        assert (found.suspend_requested, found.cancel_requested) == (False, False)

    async def test_it_cancels_nothing(self, operator: Operator) -> None:
        body = await self.running(operator)
        operator.kubernetes.gate = deposed
        await operator.executions.gone(body)
        assert not (await record(operator, body)).cancel_requested

    async def running(self, operator: Operator) -> dict[str, Any]:
        await operator.apply(WORKFLOWS, "chain", CHAIN)
        return await operator.execution("one", engine="v2")


def deposed() -> None:
    raise Deposed("operator does not lead")


class TestTroubleThatPasses:
    async def test_what_was_seen_too_late_is_read_again_before_anything_is_written(self, operator: Operator) -> None:
        spec = {"workflow": "nowhere"}
        body = await operator.kubernetes.create(EXECUTIONS, NAMESPACE, document(EXECUTIONS, "one", spec))
        await operator.kubernetes.patch(EXECUTIONS, NAMESPACE, "one", {"metadata": {"labels": {"a": "b"}}})
        await operator.executions.handle(body)
        now = await operator.kubernetes.get(EXECUTIONS, NAMESPACE, "one")
        assert accepted(now)["reason"] == "WorkflowNotFound"
        assert operator.guard._again == {}

    async def test_another_one_of_its_name_is_spared(self, operator: Operator) -> None:
        spec = {"workflow": "nowhere"}
        body = await operator.kubernetes.create(EXECUTIONS, NAMESPACE, document(EXECUTIONS, "one", spec))
        await operator.kubernetes.delete(EXECUTIONS, NAMESPACE, "one")
        await operator.kubernetes.create(EXECUTIONS, NAMESPACE, document(EXECUTIONS, "one", spec))
        await operator.executions.handle(body)
        assert "status" not in await operator.kubernetes.get(EXECUTIONS, NAMESPACE, "one")

    async def test_an_api_server_that_is_away_is_tried_again(self, operator: Operator) -> None:
        body = await operator.execution("one")  # refused: no such workflow
        operator.kubernetes.failures = [Unavailable("no answer")]
        await operator.executions.handle(replaced(body, workflow="other"))
        again = asyncio.create_task(operator.guard.run())
        async with asyncio.timeout(10):
            while not operator.kubernetes.told("WorkflowNotFound")[1:]:
                await asyncio.sleep(0.02)
        again.cancel()

    async def test_a_refused_request_of_a_person_is_forgotten_when_nothing_runs(self, operator: Operator) -> None:
        await operator.executions.cancel("no-such-uid")
        assert await operator.store.control("no-such-uid", Control.CANCEL, now(operator)) is False


def replaced(body: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return body | {"spec": {**body["spec"], **spec}, "metadata": body["metadata"] | {"generation": 2}}


def now(operator: Operator) -> datetime:
    return operator.clock.now()
