"""What the verbs make of an execution as it stands: what they write, what they refuse, and what names they choose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.cli.verbs import creating, retry
from orchestrator_operator.cli.verbs.common import missing
from orchestrator_operator.cli.verbs.requesting import useless
from orchestrator_operator.cli.verbs.standing import Standing
from orchestrator_operator.cli.verbs.start import labels
from orchestrator_operator.cli.verbs.steering import RESUME, cancelling, resuming, suspending
from orchestrator_operator.handlers import decide
from orchestrator_operator.specs import WORKFLOWS

from orchestrator.errors import InvalidExecution, OrchestratorError

RUNNING = Standing("one", "Running", "v2", "a", "1/3", 0, "", "", accepted=True)
OVER = [replace(RUNNING, phase=phase) for phase in ("Success", "Failed", "Cancelled")]
REFUSED = replace(RUNNING, phase="Pending", accepted=False)
CREATED = replace(RUNNING, phase="", accepted=None)


def test_cancel_is_answered_by_the_end_or_by_its_undoing() -> None:
    wish = cancelling(RUNNING, {})
    assert wish.patch == {"spec": {"cancel": True}}
    seen = {phase: wish.heard(body(phase)) for phase in ("Running", "Compensating", "Cancelled")}
    assert seen == {"Running": False, "Compensating": True, "Cancelled": True}


def body(phase: str, **handled: Any) -> dict[str, Any]:
    return {"metadata": {"name": "one"}, "status": {"phase": phase, "handled": handled}}


def test_cancelled_twice_nothing_is_written() -> None:
    assert cancelling(OVER[2], {}).patch is None


@pytest.mark.parametrize("wishing", [cancelling, suspending, resuming])
@pytest.mark.parametrize("over", OVER[:2], ids=["success", "failed"])
def test_what_is_over_is_not_steered(wishing: Any, over: Standing) -> None:
    with pytest.raises(OrchestratorError, match="is over"):
        wishing(over, {})


def test_a_suspension_is_answered_when_it_was_passed_on() -> None:
    wish = suspending(RUNNING, {})
    assert wish.patch == {"spec": {"suspend": True}}
    assert [wish.heard(body("Running", suspend=value)) for value in (False, True)] == [False, True]


def test_suspended_twice_nothing_is_written() -> None:
    assert suspending(replace(RUNNING, phase="Suspended"), {"suspend": True}).patch is None


def test_resume_lifts_every_suspension_and_is_answered_by_its_own_word() -> None:
    wish = resuming(replace(RUNNING, phase="Suspended"), {"suspend": True})
    assert wish.patch is not None
    word = wish.patch["metadata"]["annotations"][RESUME]
    assert wish.patch["spec"] == {"suspend": False}
    assert (wish.heard(body("Running", resume="other")), wish.heard(body("Running", resume=word))) == (False, True)
    assert RESUME == decide.RESUME


def test_without_a_suspension_by_the_spec_the_spec_is_left_alone() -> None:
    wish = resuming(replace(RUNNING, phase="Suspended"), {})
    assert wish.patch is not None
    assert "spec" not in wish.patch


def test_before_it_is_accepted_there_is_only_the_spec_to_lift() -> None:
    assert resuming(CREATED, {"suspend": True}).patch == {"spec": {"suspend": False}}
    with pytest.raises(OrchestratorError, match="not accepted yet"):
        resuming(CREATED, {})


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (RUNNING, None),
        (OVER[0], None),  # the operator knows whether this very request was recorded before
        (CREATED, "not accepted yet"),
        (REFUSED, "was refused"),
        (replace(RUNNING, phase="Unknown"), "does not know it"),
    ],
)
def test_a_request_that_no_operator_could_answer_is_not_made(now: Standing, says: str | None) -> None:
    found = useless(now)
    assert found is None if says is None else says in str(found)


# -- names


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("a", "a-retry"),
        ("a-retry", "a-retry-2"),
        ("a-retry-2", "a-retry-3"),
        ("a-retry-9", "a-retry-10"),
        ("retry", "retry-retry"),
        ("a-retry-0", "a-retry-0-retry"),
        ("a-retry-1", "a-retry-1-retry"),
        ("x" * 244 + "-retry-99", "x" * 241 + "-retry-100"),
    ],
)
def test_a_repetition_is_named_after_what_it_repeats(name: str, again: str) -> None:
    assert retry.repetition(name) == again


_STEMS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,230}[a-z0-9])?", fullmatch=True)
NAMES = st.builds(
    "{}{}".format, _STEMS, st.sampled_from(["", "-retry", "-retry-1", "-retry-2", "-retry-3", "-retry-10"])
)


@given(NAMES)
def test_names_that_are_made_are_names_of_the_api(name: str) -> None:
    for made in (retry.repetition(name), creating.made_up(name)):
        assert len(made) <= 253
        assert made[-1].isalnum()


@given(NAMES, NAMES)
def test_two_executions_have_no_common_repetition(one: str, other: str) -> None:
    assert (retry.repetition(one) == retry.repetition(other)) is (one == other)


@pytest.mark.parametrize(
    ("phase", "engine", "says"),
    [
        ("Success", "v2", "nothing to retry"),
        ("Running", "v2", "kubectl orchestrator cancel one"),
        ("Failed", "v1", "kubectl orchestrator start"),
    ],
)
def test_what_cannot_be_repeated_says_what_to_do(phase: str, engine: str, says: str) -> None:
    with pytest.raises(OrchestratorError, match=says):
        retry.check(replace(RUNNING, phase=phase, engine=engine))


def test_a_repetition_carries_the_ttl_and_neither_input_nor_key() -> None:
    spec = {"workflow": "w", "input": {"n": 1}, "idempotencyKey": "k", "ttlSecondsAfterFinished": 9, "engine": "v2"}
    found = retry.spec_of({"metadata": {"name": "one"}, "spec": spec})
    assert found == {"workflow": "w", "ttlSecondsAfterFinished": 9, "from": {"execution": "one"}}


# -- what is there already


SPEC: dict[str, Any] = {"workflow": "w", "input": {"n": 1}}


@pytest.mark.parametrize(
    ("there", "field"),
    [
        (SPEC, None),
        ({**SPEC, "engine": "auto", "suspend": True, "cancel": True, "ttlSecondsAfterFinished": 1}, None),
        ({**SPEC, "workflow": "x"}, "spec.workflow"),
        ({**SPEC, "input": {"n": 2}}, "spec.input"),
        ({**SPEC, "engine": "v1"}, "spec.engine"),
        ({**SPEC, "routingKey": "k"}, "spec.routingKey"),
        ({**SPEC, "from": {"execution": "x"}}, "spec.from"),
    ],
)
def test_another_execution_of_that_name_is_known_by_the_first_field_that_differs(
    there: dict[str, Any], field: str | None
) -> None:
    assert creating.difference(there, SPEC) == field


def test_what_is_spelt_alike_is_named_first() -> None:
    there = [*(f"a{number}" for number in range(20)), "orders"]
    said = missing(WORKFLOWS, "shop", "oders", there)
    assert said.startswith("there is no Workflow 'oders' in the namespace shop; it has orders, a0,")
    assert said.endswith("and 11 more")


def test_labels_are_read_and_a_wrong_one_is_named() -> None:
    assert labels(["team=billing", "empty="]) == {"team": "billing", "empty": ""}
    with pytest.raises(InvalidExecution, match="--label: 'team' is not KEY=VALUE"):
        labels(["team"])
