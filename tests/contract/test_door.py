"""The HTTP door on a real socket, on every store: what callers can rely on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from multidict import CIMultiDict

from orchestrator.door.problems import PATH
from orchestrator.errors import StoreUnavailable
from orchestrator.faults import Boundary
from orchestrator.flag import FlagValues
from orchestrator.fold import fold
from orchestrator.model import Assignment, Engine, Status, Trace
from orchestrator.router import falls_on_v2
from orchestrator.store import Filter
from orchestrator.testing import FakeClock, faults
from tests.support.doors import TOKEN, open_door
from tests.support.engine import node, spec, working
from tests.support.stores import CHAIN, LEASE, START, submission, workflow

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.store import Store

ASLEEP = {"nodes": [node("nap", type_="wait", **{"with": {"duration": "1h"}})]}
BROKEN = {"nodes": [{"id": "no", "type": "fail", "with": {"kind": "Sold", "message": "out of stock"}}]}
FLOWS = [workflow(CHAIN, name="chain"), workflow(ASLEEP, name="asleep"), workflow(BROKEN, name="broken")]
ORDER = {"workflow": "chain", "input": {"n": 1}}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


async def count(store: Store) -> int:
    return len(await store.executions(Filter()))


async def lines(store: Store) -> list[str]:
    return [line for _, line in await store.edge_logs(START - timedelta(days=1), "Usando Orchestrator")]


# -- accepted


async def test_a_request_is_durable_when_it_is_answered_202(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        answer = await there.caller.execute(ORDER)
        record = await store.get(answer.body["id"])
    assert (answer.status, answer.body["status"], answer.body["engine"]) == (202, "pending", "v1")
    assert record is not None
    assert (record.workflow_id, record.name, record.status) == ("default/chain", "", Status.PENDING)
    assert await store.input_of(record.id) == {"n": 1}


async def test_the_location_tells_how_it_stands(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        answer = await there.caller.execute(ORDER)
        told = await there.caller.send("GET", answer.headers["Location"])
    assert (told.status, told.body) == (202, answer.body)


@pytest.mark.parametrize("engine", ["v1", "v2"])
async def test_who_waits_gets_the_result(store: Store, clock: FakeClock, tmp_path: Path, engine: str) -> None:
    flow = workflow(spec(node("a", **{"with": {"x": "${input.n}"}}), output="${nodes.a.output.x}"), name="echo")
    async with open_door(store, clock, tmp_path, flow) as there, working(store):
        answer = await there.caller.execute({"workflow": "echo", "input": {"n": 5}, "engine": engine}, wait="30s")
    assert (answer.status, answer.body["status"], answer.body["output"]) == (200, "success", 5)


async def test_an_execution_that_failed_is_an_answer_too(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS) as there, working(store):
        answer = await there.caller.execute({"workflow": "broken", "engine": "v2"}, wait="")
    assert (answer.status, answer.body["status"]) == (200, "failed")
    assert (answer.body["error"]["kind"], answer.body["error"]["node"]) == ("Sold", "no")


async def test_a_wait_that_is_over_first_is_answered_202(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        answer = await there.caller.execute({"workflow": "asleep"}, wait="50ms")
        again = await there.caller.read(answer.body["id"], wait="0.05")
    assert (answer.status, again.status, again.body) == (202, 202, answer.body)


async def test_more_waiters_than_allowed_are_accepted_and_not_kept_waiting(
    store: Store, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS, waits=1) as there:
        first = asyncio.create_task(there.caller.execute({"workflow": "asleep"}, wait=""))
        while not there.door.service.waits.waiting:
            await asyncio.sleep(0)
        second = await there.caller.execute({"workflow": "asleep"}, wait="")
        assert (second.status, first.done()) == (202, False)
        await there.door.aclose()
        assert (await first).status == 202


async def test_who_hangs_up_waits_no_longer(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS, waits=1) as there:
        gone = asyncio.create_task(there.caller.execute({"workflow": "asleep"}, wait=""))
        while not there.door.service.waits.waiting:
            await asyncio.sleep(0)
        gone.cancel()
        async with asyncio.timeout(20):
            while there.door.service.waits.waiting:
                await asyncio.sleep(0.01)
        assert await count(store) == 1


async def test_who_waits_is_answered_although_a_question_failed(
    store: Store, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [StoreUnavailable("the cable is out"), RuntimeError("a defect")]
    real, failed = store.over, asyncio.Event()

    async def over(ids: Any) -> Any:
        if failures:
            raise failures.pop()
        failed.set()
        return await real(ids)

    monkeypatch.setattr(store, "over", over)
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        waiting = asyncio.create_task(there.caller.execute({"workflow": "broken", "engine": "v2"}, wait="30s"))
        await failed.wait()  # a worker that is there already may be done before the first question
        async with working(store):
            answer = await waiting
    assert (answer.status, answer.body["status"]) == (200, "failed")


# -- routed and logged as a resource is


async def test_each_is_routed_by_the_coin_of_its_own_id_and_told_so(
    store: Store, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        there.flag.values, there.flag.attempt, there.flag.ages = FlagValues("true", "50"), "attempt-1", (60.0,)
        answers = await asyncio.gather(*(there.caller.execute(ORDER) for _ in range(40)))
    half = there.flag.facts(START).flag.percent
    assert half is not None
    records = {record.id: record for record in await store.executions(Filter())}
    wanted = {id_: Engine.V2 if falls_on_v2(id_, half) else Engine.V1 for id_ in records}
    assert {id_: record.engine for id_, record in records.items()} == wanted
    assert {answer.body["id"]: Engine(answer.body["engine"]) for answer in answers} == wanted
    assert {(r.assignment, r.percent, r.attempt) for r in records.values()} == {
        (Assignment.EXECUTION, "50", "attempt-1")
    }
    assert sorted(await lines(store)) == sorted(
        f"Usando Orchestrator {engine.value.upper()} execution=default/{id_} uid={id_} workflow=default/chain "
        "reason=Percent percent=50"
        for id_, engine in wanted.items()
    )


async def test_a_routing_key_stays_on_its_engine(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        there.flag.values = FlagValues("true", "50")
        for key in ("a", "b", "c"):
            answers = [await there.caller.execute(ORDER | {"routingKey": key}) for _ in range(3)]
            assert len({answer.body["engine"] for answer in answers}) == 1
    assert {record.assignment for record in await store.executions(Filter())} == {Assignment.KEY}


async def test_an_engine_that_is_asked_for_is_no_coin(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        answer = await there.caller.execute(ORDER | {"engine": "v2"})
    record = await store.get(answer.body["id"])
    assert record is not None
    assert (record.engine, record.assignment) == (Engine.V2, Assignment.EXPLICIT)


async def test_without_a_v1_everything_runs_on_v2(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS, v1_available=False) as there:
        assert (await there.caller.execute(ORDER)).body["engine"] == "v2"


@pytest.mark.parametrize("engine", ["v1", "v2"])
async def test_without_a_v1_a_retry_that_names_an_engine_is_the_same_request(
    store: Store, clock: FakeClock, tmp_path: Path, engine: str
) -> None:
    body = ORDER | {"engine": engine, "idempotencyKey": "k"}
    async with open_door(store, clock, tmp_path, *FLOWS, v1_available=False) as there:
        first, again = await there.caller.execute(body), await there.caller.execute(body)
        other = await there.caller.execute(body | {"engine": "auto"})
    assert (first.status, first.body["engine"], again.body) == (202, "v2", first.body)
    assert (other.status, other.fields) == (422, ["idempotencyKey"])


async def test_the_trace_of_the_caller_is_kept(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        order = ORDER | {"engine": "v2"}
        kept = await there.caller.execute(order, traceparent=parent, tracestate="vendor=1")
        none = await there.caller.execute(order, traceparent="00-nonsense")
    traces = [fold(a.body["id"], await store.events(a.body["id"])).trace for a in (kept, none)]
    assert traces[0] is not None
    assert (traces[0].parent, traces[0].state, traces[1]) == (parent, "vendor=1", None)


async def test_states_of_a_trace_are_one_list_and_two_places_are_none(
    store: Store, clock: FakeClock, tmp_path: Path
) -> None:
    """As W3C Trace Context has it."""
    one, two = (f"00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333{n}-01" for n in (1, 2))
    headers = CIMultiDict({"traceparent": one, "tracestate": "a=1"})
    async with open_door(store, clock, tmp_path, *FLOWS) as there:

        async def traced(name: str, value: str) -> Trace | None:
            sent = CIMultiDict([*headers.items(), (name, value), ("Authorization", f"Bearer {TOKEN}")])
            url = there.caller.url + PATH
            async with there.caller.session.post(url, json=ORDER | {"engine": "v2"}, headers=sent) as answer:
                made = (await answer.json())["id"]
            return fold(made, await store.events(made)).trace

        joined, none = await traced("tracestate", "b=2"), await traced("traceparent", two)
    assert (joined, none) == (Trace(one, "a=1,b=2"), None)


# -- once for each idempotency key


async def test_the_same_request_with_the_same_key_is_the_same_execution(
    store: Store, clock: FakeClock, tmp_path: Path
) -> None:
    body = ORDER | {"input": {"b": [1, 2.5, None, True], "a": {"é": ""}, "n": 4e2}, "engine": "v2"}
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        first = await there.caller.execute(body | {"idempotencyKey": "k"})
        other_order = dict(reversed(body.items())) | {"idempotencyKey": "k"}
        second = await there.caller.execute(other_order)
        third = await there.caller.execute(body, Idempotency_Key='"k"')
        assert {a.body["id"] for a in (first, second, third)} == {first.body["id"]}
        assert [a.status for a in (first, second, third)] == [202, 202, 202]
        assert (await count(store), len(await lines(store))) == (1, 1)
        async with working(store):
            assert (await there.caller.execute(body, wait="30s", Idempotency_Key="k")).status == 200
        assert (await there.caller.execute(body, Idempotency_Key="k")).status == 200
    assert await count(store) == 1


@pytest.mark.parametrize("engine", ["v1", "v2"])
@pytest.mark.parametrize(
    ("change", "field"),
    [({"input": {"n": True}}, "input"), ({"engine": "auto"}, "engine"), ({"routingKey": "r"}, "routingKey")],
)
async def test_another_request_with_the_same_key_is_refused(
    store: Store, clock: FakeClock, tmp_path: Path, engine: str, change: dict[str, Any], field: str
) -> None:
    body = ORDER | {"idempotencyKey": "k", "engine": engine}
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        first = await there.caller.execute(body)
        answer = await there.caller.execute(body | change)
    assert (answer.status, answer.fields) == (422, ["idempotencyKey"])
    assert f"another `{field}`" in answer.body["detail"]
    assert first.body["id"] in answer.body["detail"]
    assert await count(store) == 1


async def test_a_key_belongs_to_its_workflow(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        for name in ("chain", "asleep"):
            assert (await there.caller.execute({"workflow": name, "idempotencyKey": "k"})).status == 202
    assert await count(store) == 2


async def test_a_hundred_at_once_with_one_key_are_one_execution(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        answers = await asyncio.gather(*(there.caller.execute(ORDER | {"idempotencyKey": "k"}) for _ in range(100)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body["id"] for answer in answers}) == 1
    assert (await count(store), len(await lines(store))) == (1, 1)


async def test_an_answer_of_the_store_that_is_lost_makes_nothing_twice(
    store: Store, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        with faults.lose(Boundary.SUBMIT):
            first = await there.caller.execute(ORDER | {"idempotencyKey": "k"})
        second = await there.caller.execute(ORDER | {"idempotencyKey": "k"})
    assert (first.status, first.body) == (202, second.body)
    assert (await count(store), len(await lines(store))) == (1, 1)


# -- back-pressure


async def test_when_too_much_waits_for_a_worker_nothing_is_accepted(
    store: Store, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS, backlog=3) as there:
        assert [(await there.caller.execute(ORDER)).status for _ in range(3)] == [202, 202, 202]
        clock.advance(10)
        there.door.service.pressure._counted_at = -1.0  # a quarter of a second has passed
        refused = await there.caller.execute(ORDER)
        assert refused.status == 429
        assert 10 <= int(refused.headers["Retry-After"]) <= 15  # what the queue takes to drain, spread a little
    assert await count(store) == 3


async def test_when_workers_have_caught_up_it_is_open_again(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    await store.submit([submission("x1"), submission("x2")], START)
    async with open_door(store, clock, tmp_path, *FLOWS, backlog=2) as there:
        assert (await there.caller.execute(ORDER)).status == 429
        assert len(await store.claim("worker", Engine.V2, 10, LEASE, clock.now())) == 2
        there.door.service.pressure._counted_at = -1.0  # a quarter of a second has passed
        assert (await there.caller.execute(ORDER)).status == 202


async def test_who_asks_how_it_stands_is_always_answered(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS, backlog=1) as there:
        first = await there.caller.execute(ORDER)
        assert (await there.caller.execute(ORDER)).status == 429
        assert (await there.caller.read(first.body["id"])).status == 202


async def test_without_the_store_it_says_when_to_come_again(
    store: Store, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise StoreUnavailable("the cable is out")

    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        monkeypatch.setattr(there.submissions, "put", away)
        answer = await there.caller.execute(ORDER)
    assert (answer.status, "idempotency key" in answer.body["detail"]) == (503, True)
    assert "cable" not in answer.body["detail"]  # what is inside is told inside


# -- whose execution it is


async def test_nothing_is_told_of_other_namespaces(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    await store.submit([submission("x1", workflow=replace(FLOWS[0], id="elsewhere/chain"))], START)
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        assert [(await there.caller.read(id_)).status for id_ in ("x1", "nobody", "%00")] == [404, 404, 404]


# -- the end of a process


async def test_what_is_being_accepted_when_it_ends_is_accepted(
    store: Store, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_door(store, clock, tmp_path, *FLOWS) as there:
        arrived, go = there.hold(monkeypatch)
        request = asyncio.create_task(there.caller.execute(ORDER))
        await arrived.wait()
        closing = asyncio.create_task(there.door.aclose())
        await asyncio.sleep(0)
        go.set()
        answer = await request
        await closing
        assert answer.status == 202
        with pytest.raises(aiohttp.ClientConnectionError):
            await there.caller.execute(ORDER)
    assert await store.get(answer.body["id"]) is not None
