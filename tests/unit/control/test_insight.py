"""The one sentence: what an execution does, or why it waits."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.insight import Seen, explain
from orchestrator.model import Engine, Status
from orchestrator.testing import Bench
from tests.support.situations import broken, every, hangs, node, ok, seen, undo, why
from tests.support.stores import after

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(stubs={"http": ok, "broken": broken(503), "refused": broken(400), "hangs": hangs}) as made:
        yield made


def begun(bench: Bench, *nodes: dict[str, Any], input_: Any = None, **spec: Any) -> str:
    execution = bench.submit({"nodes": list(nodes), **spec}, input_)
    bench.settle()
    return execution


def test_a_retry_says_when_after_what_and_which_attempt_it_is(bench: Bench) -> None:
    x = begun(bench, node("broken", retry=every(20, attempts=8)))
    bench.advance(timedelta(seconds=28))
    assert why(bench, x) == "retries `broken` in 12 s after HTTP 503 (attempt 3 of 8)"


def test_a_function_that_no_worker_has_is_named(bench: Bench) -> None:
    x = begun(bench, node("price", type_="python", with_={"call": "shop:price"}, retry=every(10)))
    expected = "no worker has `shop:price`, which `price` calls: tries again in 10 s (attempt 2 of 5)"
    assert why(bench, x) == expected


def test_a_signal_says_its_name_and_until_when(bench: Bench) -> None:
    x = begun(bench, node("parcel", type_="signal", with_={"name": "shipped", "timeout": "2d"}))
    assert re.fullmatch(r"waits for signal `shipped` \(node `parcel`\) until .* UTC, another 2 d", why(bench, x))


def test_a_signal_without_an_end_says_for_ever(bench: Bench) -> None:
    assert why(bench, begun(bench, node("go", type_="signal"))) == "waits for signal `go` for ever"


def test_an_approval_says_whose(bench: Bench) -> None:
    x = begun(bench, node("manager", type_="approval", with_={"approvers": ["ada", "bob"]}))
    assert why(bench, x) == "waits for approval `manager` by ada, bob for ever"


def test_a_timer_says_how_long_still(bench: Bench) -> None:
    x = begun(bench, node("coolOff", type_="wait", with_={"duration": "4h"}))
    bench.advance(timedelta(hours=1))
    assert why(bench, x).startswith("waits for timer `coolOff` for another 3 h (until ")


def test_a_child_is_named(bench: Bench) -> None:
    bench.workflow({"nodes": [node("go", type_="signal")]}, name="other")
    x = begun(bench, node("sub", type_="workflow", with_={"workflow": "other"}))
    (child,) = seen(bench, x).children
    assert why(bench, x) == f"`sub` waits for child execution {child.id}"


def test_a_map_says_how_far_it_is(bench: Bench) -> None:
    each = {"items": "${input.items}", "tolerate": 9, "do": {"type": "http", "with": {"url": "http://${string(item)}"}}}

    def some(with_: Any, context: Any) -> Any:
        return broken(400 if context.item == "1" else 503)(with_, context) if context.item in ("1", "3") else 1

    with Bench(stubs={"each": some}) as own:
        x = begun(own, node("each", type_="map", with_=each, retry=every(60)), input_={"items": list(range(20))})
        assert why(own, x) == (
            "map `each`: 18 of 20 items, 1 failed; retries `each/3` in 60 s after HTTP 503 (attempt 2 of 5)"
        )


def test_steps_in_flight_are_named_with_their_worker(bench: Bench) -> None:
    x = begun(bench, node("hangs", timeout="1h"))
    bench.advance(timedelta(seconds=4))
    assert why(bench, x) == f"runs `hangs` on worker {bench.get(x).owner} for 4.0 s"


def test_several_steps_in_flight_are_counted() -> None:
    with Bench(stubs={"http": hangs}) as own:
        y = begun(own, *(node(name, timeout="1h") for name in "abcde"))
        assert why(own, y) == f"runs 5 steps on worker {own.get(y).owner}: `a`, `b`, `c` and 2 more"


def test_one_that_is_queued_says_behind_which_limit_and_how_many(bench: Bench) -> None:
    spec = {"nodes": [node("go", type_="signal")], "concurrency": {"limit": 2}}
    ids = []
    for _ in range(5):
        ids.append(bench.submit(spec))
        bench.advance(timedelta(seconds=1))
    assert why(bench, ids[4]) == "queued behind limit 2 of default/workflow (2 before it)"
    assert why(bench, ids[2]) == "queued behind limit 2 of default/workflow (it is the next)"


def test_one_that_nobody_claims_asks_for_a_worker(bench: Bench) -> None:
    x = bench.submit({"nodes": [node("a")]})
    assert why(bench, x) == "pending: a worker takes it in a moment"
    bench.clock.advance(240)
    assert why(bench, x) == "pending: no worker has claimed it for 4 min; is one running?"


def test_a_suspended_one_says_how_it_goes_on(bench: Bench) -> None:
    x = begun(bench, node("go", type_="signal"))
    bench.suspend(x)
    bench.advance(timedelta(minutes=5))
    assert why(bench, x) == f"suspended by request for 5 min: `orchestrator executions resume {x}`"


def test_a_restored_one_says_so(bench: Bench) -> None:
    x = bench.submit({"nodes": [node("a")]}, suspended="Restored")
    bench.clock.advance(300)
    assert why(bench, x) == f"suspended (Restored) for 5 min: `orchestrator executions resume {x}`"


def test_a_worker_that_is_silent_is_named_before_its_lease_ends(bench: Bench) -> None:
    x = begun(bench, node("hangs", timeout="1h"))
    owner = bench.get(x).owner
    bench.clock.advance(12)
    expected = f"its worker {owner} has been silent for 12 s; another takes over when its lease ends, in 3.0 s"
    assert why(bench, x) == expected


def test_a_lease_that_ended_and_nobody_takes_over_asks_for_a_worker(bench: Bench) -> None:
    x = begun(bench, node("hangs", timeout="1h"))
    bench.clock.advance(75)
    assert why(bench, x).endswith("its lease ended 60 s ago and no other worker took over: is one running?")


def test_a_timer_that_is_over_and_nobody_looks_asks_for_a_worker(bench: Bench) -> None:
    x = begun(bench, node("pause", type_="wait", with_={"duration": "10s"}))
    bench.clock.advance(50)
    assert why(bench, x) == "was due 40 s ago and no worker took it: is one running? (timer `pause` is over)"


def test_a_cancel_says_what_has_to_end_first(bench: Bench) -> None:
    bench.workflow({"nodes": [node("go", type_="signal")]}, name="other")
    x = begun(bench, node("sub", type_="workflow", with_={"workflow": "other"}))
    (child,) = seen(bench, x).children
    bench.cancel(x)
    assert why(bench, x) == f"being cancelled: 1 child execution must end first ({child.id})"


def test_a_suspension_waits_for_the_steps_in_flight(bench: Bench) -> None:
    x = begun(bench, node("hangs", timeout="1h"))
    bench.suspend(x)
    bench.settle()
    assert why(bench, x) == f"being suspended: steps in flight on worker {bench.get(x).owner} end first"


def test_a_compensation_says_why_how_far_and_what_is_next() -> None:
    def reserve(with_: Any, context: Any) -> Any:
        return broken(502)(with_, context) if context.idempotency_key.endswith(":compensate") else 1

    with Bench(stubs={"http": ok, "reserve": reserve, "ship": broken(400)}) as bench:
        x = begun(
            bench,
            node("reserve", compensate=undo(retry=every(30))),
            node("charge", "reserve", compensate=undo()),
            node("ship", "charge"),
        )
        assert why(bench, x) == (
            "being compensated because `ship` failed with HTTP 400: 1 of 2 undone; "
            "retries `reserve:compensate` in 30 s after HTTP 502 (attempt 2 of 5)"
        )
        bench.run()
        assert why(bench, x) == "failed at `ship` after 2 min: HTTP 400; 1 of 2 steps undone, NOT `reserve`"


def test_what_fails_says_what_it_still_waits_for(bench: Bench) -> None:
    x = begun(bench, node("refused"), node("hangs", timeout="1h"))
    assert (
        why(bench, x)
        == f"failing, since `refused` failed with HTTP 400: steps in flight on worker {bench.get(x).owner} end first"
    )


def test_a_success_says_how_long_it_took(bench: Bench) -> None:
    x = begun(bench, node("pause", type_="wait", with_={"duration": "4h"}))
    bench.run()
    assert why(bench, x) == "succeeded after 4 h"


def test_a_failure_says_where_after_how_many_attempts_and_what_repeats_it(bench: Bench) -> None:
    x = begun(bench, node("broken", retry=every(10, attempts=3)))
    bench.run()
    assert why(bench, x) == "failed at `broken` (all 3 attempts) after 20 s: HTTP 503"


def test_a_cancelled_one_says_by_which_limit(bench: Bench) -> None:
    spec = {"nodes": [node("go", type_="signal")], "concurrency": {"limit": 1, "policy": "skip"}}
    bench.submit(spec)
    assert why(bench, bench.submit(spec)).startswith("cancelled after 0 s: ")


def test_v1_says_that_it_keeps_no_history(bench: Bench) -> None:
    x = bench.submit({"nodes": [node("a")]}, engine=Engine.V1)
    assert why(bench, x) == "pending: a worker takes it in a moment"
    record = replace(bench.get(x), status=Status.RUNNING, current_node="a")
    said = explain(Seen(record, after(0), timedelta(seconds=15)))
    assert said == "running at `a` on V1, which keeps no history and stays so if its process dies"
