"""The spans of executions: one tree, whatever happens; and nothing at all where nobody wants them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from opentelemetry import trace as api
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import StatusCode

from orchestrator.errors import StoreUnavailable
from orchestrator.functions import Functions
from orchestrator.model import Status, Trace
from orchestrator.store import Filter
from orchestrator.testing import FakeClock, MemoryStore
from tests.support.doors import open_door
from tests.support.engine import ended, node, spec
from tests.support.services import ok, start
from tests.support.stores import submission, workflow
from tests.support.tracing import CALLER, keep, span_id, trace_id, traced, traceparent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.sdk.trace import ReadableSpan

    from orchestrator.store import ExecutionRecord
    from tests.support.services import Service
    from tests.support.tracing import Kept

ROOT = Path(__file__).parents[3]
SOON = {"maxAttempts": 3, "initialInterval": "1ms", "jitter": "none"}
ECHO = workflow(spec(node("a", **{"with": {"x": "${input.n}"}}), node("b", "a")), name="echo")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def kept() -> Kept:
    return keep()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    started = await start()
    yield started
    await started.server.close()


async def run(
    store: MemoryStore, kept: Kept | None, flow: Any, *, functions: Any = None, **fields: Any
) -> ExecutionRecord:
    await store.put_workflow(flow)
    await store.submit([submission("x1", workflow=flow, **fields)], datetime.now(UTC))
    async with traced(store, kept, functions):
        (record,) = await ended(store, ["x1"])
    return record


def attribute(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(f"orchestrator.{name}")


# -- the tree


async def test_an_execution_is_one_tree_of_steps_attempts_and_checkpoints(store: MemoryStore, kept: Kept) -> None:
    await run(store, kept, ECHO)
    assert Counter(span.name for span in kept.all) == {
        "execution default/echo": 1,
        **{f"{kind} {name}": 1 for kind in ("step", "attempt", "checkpoint") for name in ("a", "b")},
    }
    root = kept.one("execution default/echo")
    assert root.parent is None
    for name in ("a", "b"):
        step = kept.one(f"step {name}")
        assert kept.parent(step) is root
        assert kept.parent(kept.one(f"attempt {name}")) is step
        assert kept.parent(kept.one(f"checkpoint {name}")) is step
    assert len({trace_id(span) for span in kept.all}) == 1
    assert len({span_id(span) for span in kept.all}) == len(kept.all)


async def test_what_is_below_a_span_is_within_its_time(store: MemoryStore, kept: Kept) -> None:
    await run(store, kept, ECHO)
    millisecond = 1_000_000  # moments of the history and of attempts are read from two clocks
    for span in kept.all:
        above = kept.parent(span)
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time
        if above is not None:
            assert above.start_time is not None
            assert above.end_time is not None
            assert above.start_time - millisecond <= span.start_time
            assert span.end_time <= above.end_time + millisecond


async def test_they_say_what_they_are_about_and_nothing_of_the_data(store: MemoryStore, kept: Kept) -> None:
    record = await run(store, kept, ECHO, input={"n": "canary"})
    root, step = kept.one("execution default/echo"), kept.one("step b")
    told = [attribute(root, name) for name in ("execution.id", "workflow.id", "workflow.revision", "engine", "status")]
    assert told == ["x1", "default/echo", record.revision, "v2", "success"]
    told = [attribute(step, name) for name in ("execution.id", "node.id", "node.type", "attempts")]
    assert told == ["x1", "b", "transform", 1]
    assert "canary" not in "".join(span.to_json() for span in kept.all)


async def test_each_try_is_a_span_and_the_step_is_one(store: MemoryStore, kept: Kept) -> None:
    tries: list[int] = []

    async def stumble(context: Any) -> str:
        tries.append(context.attempt)
        if context.attempt < 3:
            raise ValueError("not yet")
        return "done"

    functions = Functions()
    functions.register(stumble, "t:stumble")
    flow = workflow(spec(node("a", type_="python", retry=SOON, **{"with": {"call": "t:stumble"}})))
    await run(store, kept, flow, functions=functions)
    attempts = kept.named("attempt a")
    assert [attribute(span, "attempt") for span in attempts] == [1, 2, 3] == tries
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    step = kept.one("step a")
    assert {kept.parent(span) for span in attempts} == {step}
    assert (attribute(step, "attempts"), step.status.status_code) == (3, StatusCode.OK)
    assert step.start_time is not None
    assert attempts[0].end_time is not None
    assert step.start_time <= attempts[0].end_time  # from its first try on


async def test_a_failure_is_told_at_every_level(store: MemoryStore, kept: Kept) -> None:
    flow = workflow(spec(node("no", type_="python", retry={"maxAttempts": 1}, **{"with": {"call": "t:no"}})), name="no")

    def no() -> None:
        raise ValueError("out of stock")

    functions = Functions()
    functions.register(no, "t:no")
    record = await run(store, kept, flow, functions=functions)
    assert record.status is Status.FAILED
    for name in ("execution default/no", "step no", "attempt no"):
        status = kept.one(name).status
        assert (status.status_code, status.description) == (StatusCode.ERROR, "ValueError: out of stock")
    assert kept.named("checkpoint no") == []


async def test_compensations_and_items_are_steps_of_their_own(store: MemoryStore, kept: Kept) -> None:
    each = {"items": [1, 2], "do": {"type": "transform", "with": {"n": "${item}"}}}
    undo = {"type": "transform", "with": {}}
    flow = workflow(
        spec(
            node("all", type_="map", **{"with": each}),
            node("book", "all", compensate=undo),
            {"id": "no", "type": "fail", "needs": ["book"], "with": {"kind": "Sold", "message": "out"}},
        )
    )
    await run(store, kept, flow)
    assert sorted(str(attribute(span, "item")) for span in kept.named("step all")) == ["0", "1", "None"]
    assert [attribute(span, "compensation") for span in kept.named("step book")] == [None, True]
    assert len({span_id(span) for span in kept.all}) == len(kept.all)


async def test_a_child_execution_is_below_the_step_that_began_it(store: MemoryStore, kept: Kept) -> None:
    await store.put_workflow(ECHO)
    call = node("call", type_="workflow", **{"with": {"workflow": "echo", "input": {"n": 1}}})
    await run(store, kept, workflow(spec(call), name="parent"))
    child = kept.one("execution default/echo")
    assert kept.parent(child) is kept.one("step call")
    assert trace_id(child) == trace_id(kept.one("execution default/parent"))
    assert attribute(child, "parent.id") == "x1"


# -- the caller's trace


async def test_the_execution_is_below_the_span_that_asked_for_it(store: MemoryStore, kept: Kept) -> None:
    await run(store, kept, ECHO, trace=Trace(CALLER, "vendor=1"))
    root = kept.one("execution default/echo")
    assert root.parent is not None
    assert f"{root.parent.trace_id:032x}-{root.parent.span_id:016x}" == CALLER[3:-3]
    assert {trace_id(span) for span in kept.all} == {root.parent.trace_id}
    assert {s.context.trace_state.get("vendor") for s in kept.all if s.context} == {"1"}


async def test_what_the_caller_does_not_record_is_not_recorded_here(store: MemoryStore, kept: Kept) -> None:
    await run(store, kept, ECHO, trace=Trace(CALLER[:-1] + "0"))
    assert kept.all == ()


async def test_an_execution_is_recorded_whole_or_not_at_all(store: MemoryStore) -> None:
    """Two workers, one after the other, decide the same, without a word between them."""
    one, other = keep(ParentBased(TraceIdRatioBased(0.5))), keep(ParentBased(TraceIdRatioBased(0.5)))
    ids, clock = [f"x{number}" for number in range(40)], FakeClock()
    nap = node("nap", "a", type_="wait", **{"with": {"duration": "1h"}})
    flow = workflow(spec(node("a"), nap, node("b", "nap")))
    await store.submit([submission(id_, workflow=flow) for id_ in ids], clock.now())
    async with traced(store, one, clock=clock):
        while len(await store.executions(Filter(statuses=(Status.WAITING,)))) < len(ids):
            await asyncio.sleep(0.01)
    clock.advance(3600)
    async with traced(store, other, clock=clock):
        await ended(store, ids)
    found = Counter(attribute(span, "execution.id") for span in (*one.all, *other.all))
    assert set(found.values()) == {1 + 3 + 2 + 3}  # execution, steps, attempts (a timer has none), checkpoints
    assert 5 <= len(found) <= 35


# -- over HTTP nodes


def fetching(service: Service, **headers: str) -> Any:
    url = service.answer("/x", ok)
    return workflow(spec(node("get", type_="http", **{"with": {"url": url, "headers": headers}})))


async def test_a_request_names_the_attempt_that_sent_it(store: MemoryStore, kept: Kept, service: Service) -> None:
    await run(store, kept, fetching(service), trace=Trace(CALLER, "vendor=1"))
    (request,) = service.requests
    assert request.headers["traceparent"] == traceparent(kept.one("attempt get"))
    assert request.headers["tracestate"] == "vendor=1"


async def test_each_try_of_a_request_names_its_own_attempt(store: MemoryStore, kept: Kept, service: Service) -> None:
    answers = iter([503, 200])
    url = service.answer("/x", lambda _: web.Response(status=next(answers)))
    await run(store, kept, workflow(spec(node("get", type_="http", retry=SOON, **{"with": {"url": url}}))))
    sent = [request.headers["traceparent"] for request in service.requests]
    assert sent == [traceparent(span) for span in kept.named("attempt get")]
    assert len({request.headers["Idempotency-Key"] for request in service.requests}) == 1


async def test_without_tracing_the_callers_trace_is_handed_on_as_it_came(store: MemoryStore, service: Service) -> None:
    await run(store, None, fetching(service), trace=Trace(CALLER, "vendor=1"))
    assert service.requests[0].headers["traceparent"] == CALLER
    assert service.requests[0].headers["tracestate"] == "vendor=1"


async def test_without_any_trace_a_request_says_nothing_of_one(store: MemoryStore, service: Service) -> None:
    await run(store, None, fetching(service))
    assert not {"traceparent", "tracestate"} & {name.lower() for name in service.requests[0].headers}


async def test_an_authors_own_header_wins(store: MemoryStore, kept: Kept, service: Service) -> None:
    await run(store, kept, fetching(service, TraceParent="mine"))
    assert service.requests[0].headers.getall("traceparent") == ["mine"]


async def test_spans_of_a_function_are_below_its_attempt(store: MemoryStore, kept: Kept) -> None:
    seen: list[int] = []

    async def look() -> None:
        seen.append(api.get_current_span().get_span_context().span_id)

    functions = Functions()
    functions.register(look, "t:look")
    flow = workflow(spec(node("a", type_="python", **{"with": {"call": "t:look"}})))
    await run(store, kept, flow, functions=functions)
    assert seen == [span_id(kept.one("attempt a"))]
    assert not api.get_current_span().get_span_context().is_valid


# -- at the door


async def test_an_execution_is_below_the_request_that_asked_for_it(
    store: MemoryStore, kept: Kept, tmp_path: Path
) -> None:
    now = FakeClock(datetime.now(UTC))
    async with open_door(store, now, tmp_path, ECHO, tracing=kept.spans) as there, traced(store, kept):
        body = {"workflow": "echo", "input": {"n": 1}, "engine": "v2"}
        answer = await there.caller.execute(body, wait="30s", traceparent=CALLER)
        refused = await there.caller.execute({"workflow": "nowhere"})
    assert (answer.status, refused.status) == (200, 422)
    asked, other = kept.named("POST /functions/v1/execute-workflow")
    assert asked.parent is not None
    assert f"{asked.parent.span_id:016x}" == CALLER[36:52]
    assert kept.parent(kept.one("execution default/echo")) is asked
    assert attribute(asked, "execution.id") == answer.body["id"]
    assert [(s.attributes or {})["http.response.status_code"] for s in (asked, other)] == [200, 422]
    assert other.parent is None


class Broken(MemoryStore):
    """A store that fails in a way that nobody foresaw."""

    async def submit(self, batch: Any, now: Any) -> Any:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x" * 2000, {}, 413),
        (b"{}", {}, 400),
        (b"{}", {"Authorization": "Bearer nobody"}, 401),
        (b'{"workflow": "echo"}', {}, 500),
    ],
)
async def test_a_request_that_was_refused_tells_with_what(
    kept: Kept, tmp_path: Path, body: bytes, headers: dict[str, str], status: int
) -> None:
    now = FakeClock(datetime.now(UTC))
    async with open_door(Broken(), now, tmp_path, ECHO, tracing=kept.spans, body=1024) as there:
        assert (await there.caller.execute(body, **headers)).status == status
    span = kept.one("POST /functions/v1/execute-workflow")
    found = dict(span.attributes or {})
    assert found["http.response.status_code"] == status
    assert (span.status.status_code, found.get("error.type")) == (
        (StatusCode.ERROR, "500") if status == 500 else (StatusCode.UNSET, None)
    )


async def test_a_request_that_the_store_did_not_answer_is_an_error(
    store: MemoryStore, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise StoreUnavailable("the cable is out")

    monkeypatch.setattr(store, "backlog", away)
    async with open_door(store, FakeClock(datetime.now(UTC)), tmp_path, ECHO, tracing=kept.spans) as there:
        assert (await there.caller.execute({"workflow": "echo"})).status == 503
    span = kept.one("POST /functions/v1/execute-workflow")
    assert (span.status.status_code, dict(span.attributes or {})["error.type"]) == (StatusCode.ERROR, "503")


# -- off


async def test_when_it_is_off_none_of_its_code_is_called(store: MemoryStore) -> None:
    """What it costs is counted, not timed: the calls into it while an execution runs."""
    calls: Counter[str] = Counter()

    def count(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            calls[str(frame.f_globals.get("__name__"))] += 1

    await store.submit([submission(f"x{n}", workflow=ECHO) for n in range(10)], datetime.now(UTC))
    sys.setprofile(count)
    try:
        async with traced(store, None):
            await ended(store, [f"x{n}" for n in range(10)])
    finally:
        sys.setprofile(None)
    assert calls["orchestrator.engines.v2"] > 0
    inside = {name for name in calls if name.startswith(("orchestrator.tracing", "opentelemetry"))}
    assert inside | {name for name in calls if name == "orchestrator.tracecontext"} == set()


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None  # as where the extra is not installed
from orchestrator.cli.main import main
sys.argv = ["orchestrator", *sys.argv[1:]]
main()
"""


def without_the_extra(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    hello = ROOT / "tests" / "unit" / "testing" / "hello.yaml"
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, "run", str(hello), "--output", "json"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_the_extra_everything_else_works(tmp_path: Path) -> None:
    done = without_the_extra(tmp_path)
    assert (done.returncode, '"status": "success"' in done.stdout) == (0, True), done.stderr


def test_without_the_extra_the_setting_says_what_to_install(tmp_path: Path) -> None:
    done = without_the_extra(tmp_path, ORCHESTRATOR_TRACING="on")
    assert done.returncode == 2
    assert "needs the extra `otel`: in a checkout `uv sync --extra otel` or `pip install '.[otel]'`" in done.stderr
    assert done.stderr.startswith("error: ORCHESTRATOR_TRACING: ")


def test_nobody_is_told_to_install_what_is_not_ours() -> None:
    """No package is published; of this name PyPI has somebody else's."""
    asked = subprocess.run(
        ["git", "grep", "-nIE", r"(pip|pipx|uv|uvx)( tool)? (install|add) .*[' ]orchestrator\b"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode in (0, 1), asked.stderr
    assert asked.stdout.splitlines() == []
