"""What to do with an Execution: every line of the table in handlers/decide.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from orchestrator_operator.handlers.decide import (
    Cancel,
    Compiled,
    Lost,
    Nothing,
    Refuse,
    Seen,
    Steer,
    Submit,
    decide,
    settled,
)

from orchestrator.errors import Problem
from orchestrator.model import Engine, Status
from orchestrator.store import Control, ExecutionRecord
from tests.support.stores import running, workflow

AT = datetime(2026, 3, 1, 12, 0, 30, 500_000, tzinfo=UTC)
EPOCH = AT - timedelta(days=1)
CHAIN = Compiled(workflow())
ACCEPTED = {"phase": "Running", "conditions": [{"type": "Accepted", "status": "True"}]}

SEEN = Seen(
    uid="u",
    version="1",
    namespace="default",
    name="one",
    generation=1,
    created=AT,
    deleting=False,
    restored=False,
    resume=None,
    spec={"workflow": "chain", "input": {"n": 1}},
    status={},
)
RECORD = running(AT, id="u", workflow_id="default/chain")
ENDED = replace(RECORD, status=Status.SUCCESS, finished_at=AT)


def spec(**changes: Any) -> Seen:
    return replace(SEEN, spec={**SEEN.spec, **changes})


def test_a_new_one_is_submitted() -> None:
    decision = decide(SEEN, None, CHAIN, EPOCH)
    assert isinstance(decision, Submit)
    assert (decision.suspended, decision.controls, decision.handled) == (None, (), None)
    assert decision.spec.input == {"n": 1}


@pytest.mark.parametrize("record", [RECORD, ENDED])
def test_one_that_the_store_knows_and_nobody_asks_anything_of_is_left_alone(record: ExecutionRecord) -> None:
    assert decide(replace(SEEN, status=ACCEPTED), record, None, EPOCH) == Nothing()


class TestDeleted:
    def test_it_is_cancelled(self) -> None:
        assert decide(replace(SEEN, deleting=True), RECORD, None, EPOCH) == Cancel()

    @pytest.mark.parametrize("record", [None, ENDED])
    def test_unless_nothing_runs(self, record: ExecutionRecord | None) -> None:
        assert decide(replace(SEEN, deleting=True), record, CHAIN, EPOCH) == Nothing()


class TestRefused:
    @pytest.mark.parametrize(
        ("seen", "compiled", "reason", "path"),
        [
            (SEEN, None, "WorkflowNotFound", "spec.workflow"),
            (SEEN, Compiled(None, (Problem("spec.nodes", "…"),)), "WorkflowInvalid", "spec.workflow"),
            (spec(engine="v3"), CHAIN, "InvalidSpec", "spec.engine"),
            (spec(colour="red"), CHAIN, "InvalidSpec", "spec.colour"),
            (spec(ttlSecondsAfterFinished=-1), CHAIN, "InvalidSpec", "spec.ttlSecondsAfterFinished"),
            (replace(SEEN, spec=None), CHAIN, "InvalidSpec", "spec"),
            (replace(SEEN, spec={}), CHAIN, "InvalidSpec", "spec.workflow"),
        ],
    )
    def test_with_the_reason_and_the_path(self, seen: Seen, compiled: Compiled | None, reason: str, path: str) -> None:
        decision = decide(seen, None, compiled, EPOCH)
        assert isinstance(decision, Refuse)
        assert (decision.reason, decision.problems[0].path) == (reason, path)

    def test_input_against_the_schema_names_the_field(self) -> None:
        strict = workflow(
            {
                "input": {"schema": {"properties": {"n": {"type": "integer"}}}},
                "nodes": [{"id": "a", "type": "transform", "with": {}}],
            }
        )
        decision = decide(spec(input={"n": "one"}), None, Compiled(strict), EPOCH)
        assert isinstance(decision, Refuse)
        assert (decision.reason, decision.problems[0].path) == ("InvalidInput", "spec.input.n")

    def test_one_that_was_refused_before_is_looked_at_again(self) -> None:
        refused = {"phase": "Pending", "conditions": [{"type": "Accepted", "status": "False"}]}
        assert isinstance(decide(replace(SEEN, status=refused), None, CHAIN, EPOCH), Submit)


class TestPromise11:
    """A restore re-runs nothing."""

    @pytest.mark.parametrize(
        "status", [ACCEPTED, {"phase": "Success"}, {"phase": "Pending", "engine": "v2"}, {"startedAt": "…"}]
    )
    def test_accepted_once_but_unknown_to_the_store_runs_never_again(self, status: dict[str, Any]) -> None:
        decision = decide(replace(SEEN, status=status), None, CHAIN, EPOCH)
        assert decision == Lost(status.get("phase", "accepted"))

    def test_it_is_said_once(self) -> None:
        lost = {"phase": "Unknown", "reason": "StoreMissing"}
        assert decide(replace(SEEN, status=lost, resume="now"), None, CHAIN, EPOCH) == Nothing()

    def test_our_own_bookkeeping_is_no_acceptance(self) -> None:
        assert isinstance(decide(replace(SEEN, status={"handled": {"resume": "x"}}), None, CHAIN, EPOCH), Submit)

    @pytest.mark.parametrize(
        ("created", "suspended"),
        [
            (AT - timedelta(seconds=1), "Restored"),
            # Kubernetes writes whole seconds: one created in the second of the store's birth may be younger.
            (AT.replace(microsecond=0), None),
            (AT + timedelta(seconds=1), None),
        ],
    )
    def test_older_than_the_store_waits_for_a_person(self, created: datetime, suspended: str | None) -> None:
        decision = decide(replace(SEEN, created=created), None, CHAIN, AT)
        assert isinstance(decision, Submit)
        assert decision.suspended == suspended

    def test_one_that_a_backup_brought_back_waits_for_a_person(self) -> None:
        decision = decide(replace(SEEN, restored=True), None, CHAIN, EPOCH)
        assert isinstance(decision, Submit)
        assert decision.suspended == "Restored"

    def test_a_resume_annotation_from_an_earlier_life_resumes_nothing(self) -> None:
        decision = decide(replace(SEEN, restored=True, resume="old"), None, CHAIN, EPOCH)
        assert isinstance(decision, Submit)
        assert decision.handled == {"resume": "old"}

    def test_a_phase_unknown_is_repaired_when_the_store_knows_it_again(self) -> None:
        unknown = replace(SEEN, status={"phase": "Unknown", "reason": "StoreMissing"})
        assert decide(unknown, ENDED, None, EPOCH) == Steer((), {}, rewrite=True)
        assert not settled(unknown)


class TestSteering:
    def test_cancel_is_passed_on_once(self) -> None:
        assert decide(spec(cancel=True), RECORD, None, EPOCH) == Steer((Control.CANCEL,), {})
        assert decide(spec(cancel=True), replace(RECORD, cancel_requested=True), None, EPOCH) == Nothing()

    def test_cancel_is_passed_on_to_v1_until_it_is_over_for_its_process_may_have_died(self) -> None:
        asked = replace(RECORD, engine=Engine.V1, cancel_requested=True)
        assert decide(spec(cancel=True), asked, None, EPOCH) == Steer((Control.CANCEL,), {})
        assert (
            decide(spec(cancel=True), replace(asked, finished_at=AT, status=Status.CANCELLED), None, EPOCH) == Nothing()
        )

    def test_cancel_of_what_is_over_is_no_news(self) -> None:
        assert decide(spec(cancel=True), ENDED, None, EPOCH) == Nothing()

    def test_suspend_and_its_end_are_passed_on_once(self) -> None:
        assert decide(spec(suspend=True), RECORD, None, EPOCH) == Steer((Control.SUSPEND,), {"suspend": True})
        told = replace(SEEN, status={"handled": {"suspend": True}})
        assert decide(replace(told, spec={**SEEN.spec, "suspend": True}), RECORD, None, EPOCH) == Nothing()
        assert decide(told, RECORD, None, EPOCH) == Steer((Control.RESUME,), {"suspend": False})

    def test_a_suspension_of_another_origin_stays(self) -> None:
        assert decide(SEEN, replace(RECORD, status=Status.SUSPENDED), None, EPOCH) == Nothing()

    def test_each_new_value_of_the_annotation_resumes_once(self) -> None:
        asked = replace(SEEN, resume="2", status={"handled": {"resume": "1"}})
        assert decide(asked, RECORD, None, EPOCH) == Steer((Control.RESUME,), {"resume": "2"})
        assert decide(replace(asked, status={"handled": {"resume": "2"}}), RECORD, None, EPOCH) == Nothing()

    def test_cancelled_from_the_start_never_runs_a_step(self) -> None:
        decision = decide(spec(cancel=True), None, CHAIN, EPOCH)
        assert isinstance(decision, Submit)
        assert (decision.suspended, decision.controls) == ("CancelledBySpec", (Control.CANCEL,))

    def test_suspended_from_the_start(self) -> None:
        decision = decide(spec(suspend=True), None, CHAIN, EPOCH)
        assert isinstance(decision, Submit)
        assert (decision.suspended, decision.handled) == ("SuspendedBySpec", {"suspend": True})

    @pytest.mark.parametrize(
        "seen",
        [
            replace(SEEN, deleting=True),
            spec(cancel=True),
            spec(suspend=True),
            replace(SEEN, resume="1"),
            replace(SEEN, status={"handled": {"suspend": True}}),
        ],
    )
    def test_what_could_need_something_is_not_settled(self, seen: Seen) -> None:
        assert not settled(seen)
        assert settled(SEEN)
