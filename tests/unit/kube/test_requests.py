"""Signals and approvals by annotations: what is understood, what is recorded, what is answered, and what is left."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.adapters.kubernetes import Conflict, Unavailable
from orchestrator_operator.handlers import answered
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS
from orchestrator_operator.specs.requests import APPROVAL, KEPT, LARGEST, SIGNAL, Approval, Asked, Signal, ask, read
from orchestrator_operator.specs.requests import requests_in as found_in

from orchestrator import events as e
from orchestrator.errors import InvalidExecution
from orchestrator.model import Status
from orchestrator.store import Control
from tests.support.cluster import NAMESPACE, Operator
from tests.support.stores import CHAIN, claim_one, commit, end, projection

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOW = {
    "nodes": [
        {"id": "parcel", "type": "signal", "with": {"name": "shipped", "schema": {"type": "object"}}},
        {"id": "manager", "type": "approval", "with": {"approvers": ["ada", "bob"]}},
        {"id": "director", "type": "approval"},
    ]
}
SHIPPED = '{"name": "shipped", "payload": {"parcel": "4711"}}'
YES = '{"approved": true, "by": "ada", "node": "manager"}'


# -- what is understood


@given(
    st.one_of(
        st.builds(
            Signal,
            name=st.text("abc", min_size=1, max_size=63),
            payload=st.dictionaries(st.text("xy"), st.integers(0, 9)),
        ),
        st.builds(
            Approval,
            approved=st.booleans(),
            by=st.text("ab", min_size=1, max_size=9),
            comment=st.none() | st.text("c "),
        ),
    ),
    st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", fullmatch=True),
)
def test_what_is_asked_reads_back_as_it_was(request_: Any, request_id: str) -> None:
    asked = ask(type(request_), request_id, **request_.model_dump())
    assert (read(asked), asked.id) == (request_, request_id)


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        (SIGNAL, "{", "is not JSON"),
        (SIGNAL, "[" * 100_000, "is not JSON"),
        (SIGNAL, "[]", "must be a map"),
        (SIGNAL, "{}", ".name: is required"),
        (SIGNAL, '{"name": "a", "payload": "\\u0000"}', ".payload: "),
        (SIGNAL, '{"name": "a", "paylod": 1}', ".paylod: is no field"),
        (APPROVAL, '{"approved": "yes", "by": "ada"}', ".approved: "),
        (APPROVAL, '{"approved": true}', ".by: is required"),
        (APPROVAL, '"' + "x" * LARGEST + '"', "is larger than"),
    ],
)
def test_what_is_wrong_is_told_with_the_annotation_and_the_field(key: str, text: str, says: str) -> None:
    with pytest.raises(InvalidExecution) as error:
        read(Asked(f"{key}one", text))
    assert str(error.value).startswith(f'metadata.annotations["{key}one"]')
    assert says in str(error.value)


@pytest.mark.parametrize("request_id", ["", "a/b", "approval:manager", "-a", "x" * 64])
def test_an_id_that_no_annotation_can_have_is_refused_before_it_is_sent(request_id: str) -> None:
    with pytest.raises(InvalidExecution, match="--id"):
        ask(Signal, request_id, name="a")


@pytest.mark.parametrize(
    ("kind", "fields", "path"),
    [
        (Signal, {"name": "go", "payload": {"n": float("nan")}}, "payload.n: "),
        (Signal, {"name": "go", "payload": "\ud800"}, "payload: "),
        (Signal, {"name": "go", "payload": "x" * LARGEST}, "payload: "),
        (Signal, {"name": ""}, "name: "),
        (Approval, {"approved": True, "by": "x" * 201}, "by: "),
    ],
)
def test_what_nobody_could_take_is_refused_before_it_is_sent(
    kind: type[Signal | Approval], fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidExecution) as error:
        ask(kind, "one", **fields)
    assert str(error.value).startswith(path)


def test_other_annotations_are_no_requests() -> None:
    assert found_in({"orchestrator.dev/resume": "x", "example.org/signal": "y", f"{SIGNAL}b": "{}"}) == (
        Asked(f"{SIGNAL}b", "{}"),
    )


# -- what the status keeps of them


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30))
def test_the_newest_answers_and_every_intent_are_kept(story: list[tuple[int, bool]]) -> None:
    handled: dict[str, Any] = {}
    last: dict[str, dict[str, Any]] = {}
    for number, intends in story:
        asked = Asked(f"{APPROVAL}{number}", "{}")
        entry = answered.intent(asked, "n") if intends else {**answered.intent(asked, "n"), "accepted": True}
        last.pop(asked.short, None)
        last[asked.short] = entry
        handled = {"requests": answered.put(handled, [entry])}
    kept = answered.entries(handled)
    intents = [one for one in last.values() if not answered.is_answered(one)]
    answers = [one for one in last.values() if answered.is_answered(one)]
    assert [one for one in kept if not answered.is_answered(one)] == intents
    told = [one for one in kept if answered.is_answered(one)]
    assert told == answers[len(answers) - len(told) :]
    assert len(told) <= KEPT
    assert len(last) > KEPT or len(kept) == len(last)
    assert not story or next(reversed(last.values())) in kept


@pytest.mark.parametrize("requests", [None, 7, "x", {"a": 1}, [1, None, {"digest": "x"}]])
def test_what_somebody_else_wrote_there_counts_for_nothing(requests: Any) -> None:
    assert answered.find({"requests": requests}, Asked(f"{SIGNAL}a", "{}")) is None


# -- what the operator does


@pytest.fixture
async def waiting(operator: Operator) -> dict[str, Any]:
    """An execution that waits for a signal and the manager's approval; the director is not asked yet."""
    await operator.apply(WORKFLOWS, "flow", FLOW)
    body = await operator.execution("one", "flow", engine="v2")
    uid, now = body["metadata"]["uid"], operator.clock.now()
    claim = await claim_one(operator.store, uid, now)
    awaited = (
        e.SignalAwaited(now, "parcel", "signal", "shipped", None),
        e.SignalAwaited(now, "manager", "approval", "manager", None),
    )
    await commit(operator.store, claim, *awaited, projection=projection(Status.RUNNING, started_at=now))
    return body


async def annotate(operator: Operator, **requests: str) -> dict[str, Any]:
    """The resource after the operator has seen these, until nothing more happens."""
    keys = {kind_id.replace("__", ".orchestrator.dev/"): text for kind_id, text in requests.items()}
    await operator.kubernetes.patch(EXECUTIONS, NAMESPACE, "one", {"metadata": {"annotations": keys}})
    return await settle(operator)


async def settle(operator: Operator) -> dict[str, Any]:
    while True:
        before = await operator.kubernetes.get(EXECUTIONS, NAMESPACE, "one")
        after = await operator.look(EXECUTIONS, "one")
        if after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]:
            return after


def answers(body: dict[str, Any]) -> dict[str, tuple[bool, str]]:
    found = body["status"]["handled"]["requests"]
    return {one["request"]: (one["accepted"], one["answer"]) for one in found}


async def recorded(operator: Operator, body: dict[str, Any]) -> Sequence[tuple[str, Any, str]]:
    events = [one.event for one in await operator.store.events(body["metadata"]["uid"])]
    return [(one.name, one.payload, one.id) for one in events if isinstance(one, e.SignalReceived)]


ADA = {"approved": True, "approver": "ada"}


async def test_a_signal_is_recorded_answered_and_taken_off(operator: Operator, waiting: dict[str, Any]) -> None:
    body = await annotate(operator, signal__p1=SHIPPED)
    assert await recorded(operator, body) == [("shipped", {"parcel": "4711"}, "p1")]
    assert answers(body) == {"signal/p1": (True, "signal 'shipped' is recorded")}
    assert body["metadata"]["annotations"] == {}
    assert operator.kubernetes.told("SignalReceived") == ["signal/p1: signal 'shipped' is recorded"]


async def test_two_that_come_at_once_are_both_recorded(operator: Operator, waiting: dict[str, Any]) -> None:
    body = await annotate(operator, signal__p1=SHIPPED, signal__p2=SHIPPED)
    assert [signal_id for _, _, signal_id in await recorded(operator, body)] == ["p1", "p2"]
    assert [accepted for accepted, _ in answers(body).values()] == [True, True]


async def test_more_than_a_status_keeps_are_all_recorded(operator: Operator, waiting: dict[str, Any]) -> None:
    many = {f"signal__p{number}": SHIPPED for number in range(2 * KEPT + 1)}
    body = await annotate(operator, **many)
    assert len(await recorded(operator, body)) == 2 * KEPT + 1
    assert len(answers(body)) == KEPT
    assert len(json.dumps(body["status"])) < 10_000


async def test_sent_again_by_the_same_id_it_counts_once(operator: Operator, waiting: dict[str, Any]) -> None:
    await annotate(operator, signal__p1=SHIPPED)
    body = await annotate(operator, signal__p1=SHIPPED)
    assert len(await recorded(operator, body)) == 1
    assert answers(body)["signal/p1"][0] is True


async def test_another_signal_by_the_same_id_is_refused(operator: Operator, waiting: dict[str, Any]) -> None:
    await annotate(operator, signal__p1=SHIPPED)
    body = await annotate(operator, signal__p1='{"name": "shipped", "payload": {"parcel": "other"}}')
    assert len(await recorded(operator, body)) == 1
    accepted, says = answers(body)["signal/p1"]
    assert (accepted, "choose another id" in says) == (False, True)


async def test_a_payload_that_does_not_fit_is_refused_with_its_field_and_can_be_sent_right(
    operator: Operator, waiting: dict[str, Any]
) -> None:
    body = await annotate(operator, signal__p1='{"name": "shipped", "payload": 7}')
    accepted, says = answers(body)["signal/p1"]
    assert (accepted, says.partition(": ")[0]) == (False, "payload")
    assert operator.kubernetes.told("RequestRefused")
    body = await annotate(operator, signal__p1=SHIPPED)
    assert answers(body)["signal/p1"][0] is True


async def test_without_a_node_the_approval_that_waits_is_decided(operator: Operator, waiting: dict[str, Any]) -> None:
    body = await annotate(operator, approval__x='{"approved": true, "by": "ada"}')
    assert await recorded(operator, body) == [("manager", ADA, "approval:manager")]
    assert answers(body) == {"approval/x": (True, "manager approved by ada")}
    assert operator.kubernetes.told("Approved") == ["approval/x: manager approved by ada"]


async def test_the_second_decision_is_told_the_first(operator: Operator, waiting: dict[str, Any]) -> None:
    await annotate(operator, approval__x=YES)
    body = await annotate(operator, approval__y='{"approved": false, "by": "bob", "node": "manager"}')
    accepted, says = answers(body)["approval/y"]
    assert (accepted, "decided before" in says, "approved by ada" in says) == (False, True, True)
    assert len(await recorded(operator, body)) == 1


async def test_who_is_no_approver_decides_nothing(operator: Operator, waiting: dict[str, Any]) -> None:
    body = await annotate(operator, approval__x='{"approved": true, "by": "eve", "node": "manager"}')
    assert (answers(body)["approval/x"][0], await recorded(operator, body)) == (False, [])


async def test_when_it_is_over_that_is_the_answer(operator: Operator, waiting: dict[str, Any]) -> None:
    operator.clock.advance(60)  # the claim is nobody's any more
    await operator.store.control(waiting["metadata"]["uid"], Control.RESUME, operator.clock.now())
    claim = await claim_one(operator.store, waiting["metadata"]["uid"], operator.clock.now())
    await end(operator.store, claim, Status.CANCELLED, operator.clock.now())
    body = await annotate(operator, signal__p1=SHIPPED, approval__x='{"approved": true, "by": "ada"}')
    over = (False, "nothing was recorded: the execution is over (cancelled)")
    assert answers(body) == {"signal/p1": over, "approval/x": over}


async def test_what_stood_there_before_it_was_accepted_decides_nothing(operator: Operator) -> None:
    await operator.apply(WORKFLOWS, "flow", FLOW)
    many = {f"{APPROVAL}x{number}": YES for number in range(KEPT + 2)}
    spec = {"workflow": "flow", "input": {}, "engine": "v2"}
    body = await operator.apply(EXECUTIONS, "one", spec, annotations={f"{SIGNAL}p1": SHIPPED, **many})
    body = await settle(operator)
    assert await operator.store.get(body["metadata"]["uid"]) is not None
    assert (await recorded(operator, body), body["metadata"]["annotations"]) == ([], {})
    assert {accepted for accepted, _ in answers(body).values()} == {False}


async def test_v1_takes_none_and_says_so(operator: Operator) -> None:
    await operator.apply(WORKFLOWS, "chain", CHAIN)
    await operator.execution("one", engine="v1")
    body = await annotate(operator, signal__p1=SHIPPED)
    accepted, says = answers(body)["signal/p1"]
    assert (accepted, "V1" in says) == (False, True)


# -- exactly once


def fails(operator: Operator, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The API server does not answer the call of that number from now on, and any other."""
    calls = itertools.count()

    def fail() -> None:
        if next(calls) == number:
            raise Unavailable("no answer")

    monkeypatch.setattr(operator.kubernetes, "_fail", fail)


@pytest.mark.parametrize("number", range(5))
async def test_whichever_call_fails_it_is_recorded_once_and_answered(
    operator: Operator, waiting: dict[str, Any], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    keys = {f"{SIGNAL}p1": SHIPPED, f"{APPROVAL}x": '{"approved": true, "by": "ada"}'}
    await operator.kubernetes.patch(EXECUTIONS, NAMESPACE, "one", {"metadata": {"annotations": keys}})
    body = await operator.kubernetes.get(EXECUTIONS, NAMESPACE, "one")
    fails(operator, monkeypatch, number)
    await operator.executions.handle(body)
    body = await settle(operator)
    assert sorted(signal_id for _, _, signal_id in await recorded(operator, body)) == ["approval:manager", "p1"]
    assert {accepted for accepted, _ in answers(body).values()} == {True}
    assert body["metadata"]["annotations"] == {}


async def test_an_approval_without_a_node_never_decides_the_next_one_after_a_crash(
    operator: Operator, waiting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {f"{APPROVAL}x": '{"approved": true, "by": "ada"}'}
    await operator.kubernetes.patch(EXECUTIONS, NAMESPACE, "one", {"metadata": {"annotations": key}})
    body = await operator.kubernetes.get(EXECUTIONS, NAMESPACE, "one")
    fails(operator, monkeypatch, 2)  # the intent and the Event are written, the answer is not
    await operator.executions.handle(body)
    uid, now = body["metadata"]["uid"], operator.clock.advance(60)
    assert len(await recorded(operator, body)) == 1
    claim = await claim_one(operator.store, uid, now)
    taken = next(one.seq for one in await operator.store.events(uid) if isinstance(one.event, e.SignalReceived))
    done = e.StepCompleted(now, "manager", "approval", 1, ADA, now, 1.0, signal=taken)
    asked = e.SignalAwaited(now, "director", "approval", "director", None)
    await commit(operator.store, claim, done, asked, projection=projection(Status.RUNNING, started_at=now))
    body = await settle(operator)
    assert [signal_id for _, _, signal_id in await recorded(operator, body)] == ["approval:manager"]
    assert answers(body) == {"approval/x": (True, "manager approved by ada")}


async def test_a_text_that_is_written_anew_meanwhile_is_answered_too(
    operator: Operator, waiting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the answer to the first text and its removal."""
    patch, other = operator.kubernetes.patch, '{"name": "shipped", "payload": {"parcel": "other"}}'

    async def slow(resource: Any, namespace: str, name: str, body: Any) -> dict[str, Any]:
        monkeypatch.setattr(operator.kubernetes, "patch", patch)
        await patch(resource, namespace, name, {"metadata": {"annotations": {f"{SIGNAL}p1": other}}})
        raise Conflict("the object has been modified", status=409)

    key = {f"{SIGNAL}p1": SHIPPED}
    await patch(EXECUTIONS, NAMESPACE, "one", {"metadata": {"annotations": key}})
    body = await operator.kubernetes.get(EXECUTIONS, NAMESPACE, "one")
    monkeypatch.setattr(operator.kubernetes, "patch", slow)
    await operator.executions.handle(body)
    body = await settle(operator)
    accepted, says = answers(body)["signal/p1"]
    assert (accepted, "choose another id" in says) == (False, True)
    assert await recorded(operator, body) == [("shipped", {"parcel": "4711"}, "p1")]
