"""The timeline: what each step did and when, and how that is drawn."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.cli.executions.drawing import draw, line_json
from orchestrator.testing import Bench
from orchestrator.timeline import QUEUED, SUSPENDED
from tests.support.situations import broken, every, hangs, node, ok, seen, undo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.timeline import Line


@pytest.fixture
def bench() -> Iterator[Bench]:
    stubs = {"http": ok, "broken": broken(503), "refused": broken(400), "hangs": hangs}
    with Bench(stubs=stubs) as made:
        yield made


def lines(bench: Bench, execution: str) -> dict[str, Line]:
    return {line.key: line for line in seen(bench, execution).lines}


def took(line: Line) -> float:
    assert line.started
    assert line.ended
    return (line.ended - line.started).total_seconds()


def ran(bench: Bench, *nodes: dict[str, Any], input_: Any = None) -> str:
    execution = bench.submit({"nodes": list(nodes)}, input_)
    bench.run()
    return execution


def test_a_retry_is_attempts_with_pauses_between(bench: Bench) -> None:
    line = lines(bench, ran(bench, node("broken", retry=every(10, attempts=3))))["broken"]
    assert [stretch.kind for stretch in line.stretches] == ["x", ".", "x", ".", "x"]
    assert (line.status, line.attempts, took(line), line.notes) == ("failed", 3, 20, ["HTTP 503"])


def test_a_timer_is_a_wait(bench: Bench) -> None:
    line = lines(bench, ran(bench, node("pause", type_="wait", with_={"duration": "30s"})))["pause"]
    assert ([stretch.kind for stretch in line.stretches], took(line)) == (["."], 30)


def test_a_skipped_step_says_why(bench: Bench) -> None:
    line = lines(bench, ran(bench, node("a", when="${false}")))["a"]
    assert (line.status, line.notes, line.started) == ("skipped", ["its condition is false"], None)


def test_what_did_not_begin_comes_last_in_the_workflows_order(bench: Bench) -> None:
    x = ran(bench, node("c", "refused"), node("refused"), node("b", "refused"))
    assert list(lines(bench, x))[-3:] == ["refused", "c", "b"]
    assert lines(bench, x)["c"].status == "pending"


def test_a_map_is_one_line_that_counts_its_items(bench: Bench) -> None:
    with_ = {"items": [1, 2, 3], "tolerate": 1, "do": {"type": "http", "with": {"url": "http://x/"}}}

    def one(with_: Any, context: Any) -> Any:
        return broken(400)(with_, context) if context.item == "1" else 1

    with Bench(stubs={"each": one}) as own:
        line = lines(own, ran(own, node("each", type_="map", with_=with_)))["each"]
        assert (line.status, line.attempts) == ("completed", 3)
        assert line.notes == ["2 of 3 items", "1 failed", "item 1: HTTP 400"]


def test_a_compensation_has_a_line_of_its_own(bench: Bench) -> None:
    x = ran(bench, node("reserve", compensate=undo()), node("refused", "reserve"))
    assert lines(bench, x)["reserve:compensate"].status == "completed"


def test_a_suspension_is_a_line_of_its_own(bench: Bench) -> None:
    x = bench.submit({"nodes": [node("go", type_="signal")]})
    bench.settle()
    bench.suspend(x)
    bench.advance(timedelta(seconds=20))
    bench.resume(x)
    bench.settle()
    assert (took(lines(bench, x)[SUSPENDED]), lines(bench, x)[SUSPENDED].notes) == (20, ["requested"])


def test_the_time_before_it_began_is_a_line_of_its_own(bench: Bench) -> None:
    x = bench.submit({"nodes": [node("a")]})
    bench.clock.advance(20)
    bench.run()
    assert took(lines(bench, x)[QUEUED]) == 20


def test_a_step_in_flight_is_running(bench: Bench) -> None:
    x = bench.submit({"nodes": [node("hangs", timeout="1h")]})
    bench.settle()
    assert lines(bench, x)["hangs"].status == "running"


def test_what_was_waited_for_at_the_end_was_given_up(bench: Bench) -> None:
    x = ran(bench, node("go", type_="signal"), node("refused"))
    assert lines(bench, x)["go"].status == "given up"


class TestDrawing:
    def drawn(self, bench: Bench, execution: str, width: int = 100) -> list[str]:
        shown = seen(bench, execution)
        return draw(shown.lines, shown.seen.now, width)

    @pytest.mark.parametrize("width", [20, 40, 80, 100, 300])
    def test_no_line_of_steps_is_wider_than_the_terminal(self, bench: Bench, width: int) -> None:
        x = ran(bench, node("a" * 60), node("broken", retry=every(10)))
        rows = [line for line in self.drawn(bench, x, width) if "|" in line or line.startswith("  ")]
        assert [line for line in rows if len(line) > width] == []

    def test_a_step_of_no_time_is_still_seen(self, bench: Bench) -> None:
        x = ran(bench, node("a"), node("pause", "a", type_="wait", with_={"duration": "7d"}), node("b", "pause"))
        first, second = (next(line for line in self.drawn(bench, x) if line.startswith(name)) for name in ("a ", "b "))
        assert first.partition("|")[2].startswith("#")
        assert second.rstrip("|").endswith("#")

    def test_a_time_that_nobody_noticed_is_left_out(self, bench: Bench) -> None:
        assert [line for line in self.drawn(bench, ran(bench, node("a"))) if line.startswith("(queued)")] == []

    def test_of_many_lines_the_first_and_the_last_are_shown(self, bench: Bench) -> None:
        drawn = self.drawn(bench, ran(bench, *(node(f"n{index}") for index in range(100))))
        assert any(line.startswith("… 40 more") for line in drawn)
        assert len(drawn) == 63

    def test_json_has_every_stretch(self, bench: Bench) -> None:
        line = lines(bench, ran(bench, node("broken", retry=every(10, attempts=2))))["broken"]
        found = line_json(line)
        assert [stretch["kind"] for stretch in found["stretches"]] == ["failed", "waited", "failed"]
        assert (found["step"], found["type"], found["attempts"]) == ("broken", "http", 2)
