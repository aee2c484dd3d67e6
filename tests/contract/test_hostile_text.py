"""Whatever a caller, a resource or a service may write: it is kept to the letter, and is part of no statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.model import Failure, Status
from orchestrator.store import Appended, Filter
from tests.support.stores import START, claim_one, commit, completed, decision, projection, row, submission

if TYPE_CHECKING:
    from orchestrator.store import Store

TEXTS = [
    "x'); DROP TABLE workflow_executions; --",
    "'; DELETE FROM workflow_events; --",
    '" OR ""="',
    "x' OR 'a'='a",
    "%",
    "_%_",
    "\\'; --",
    "$1 %s %(id)s :id ?",
    "{0} ${input.n}",
    "$$; SELECT 1; $$",
    "null",
    "line\nbreak\r\tand \u2028 \u202e end",
    '[1, {"a": "\'"}]',
]


@pytest.fixture(params=TEXTS)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_what_an_execution_bears_reads_back_and_finds_it_alone(store: Store, text: str) -> None:
    hostile = submission(
        text, name=text, idempotency_key=text, routing_key=text, input={text: text}, log_line=f"about {text}."
    )
    await store.submit([submission("other", idempotency_key="other", log_line="about another."), hostile], START)
    found = await row(store, text)
    assert (found.id, found.name) == (text, text)
    assert await store.input_of(text) == {text: text}
    assert await store.find(found.workflow_id, text) == found
    assert await store.known([text, "nobody"]) == {text}
    assert {line for _, line in await store.edge_logs(START, text)} == {f"about {text}."}
    assert len(await store.executions(Filter())) == 2


async def test_what_steps_leave_reads_back_and_is_found_by_it_alone(store: Store, text: str) -> None:
    await store.submit([submission(text), submission("other")], START)
    failure = Failure(text, text, node=text)
    left: list[e.Event] = [completed(output={text: text}), e.ExecutionFailed(START, failure)]
    claim = await claim_one(store, text)
    await commit(store, claim, *left, projection=projection(Status.FAILED, failure=failure))
    assert [recorded.event for recorded in await store.events(text)][-2:] == left
    for wanted in (Filter(failed_node=text), Filter(failed_kind=text)):
        assert [record.id for record in await store.executions(wanted)] == [text]
    assert await store.executions(Filter(workflow_id=text)) == []


async def test_what_a_rollout_decides_reads_back(store: Store, text: str) -> None:
    made = decision(1, rollout=text, name=text, attempt=text, reason=text, message=text, actor=text, content=text)
    assert isinstance(await store.append_decision(made), Appended)
    assert await store.decisions(text) == [made]
    assert await store.decisions("other") == []
