from __future__ import annotations

import io
from datetime import timedelta

import pytest
from orchestrator_operator.local.progress import ConsoleReporter, describe
from rich.console import Console


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_where_there_is_no_terminal_a_line_comes_every_ten_seconds() -> None:
    output, clock = io.StringIO(), Clock()
    report = ConsoleReporter(Console(file=output, force_terminal=False), clock)
    with report.task("building", timedelta(minutes=1)) as tick:
        for second in range(1, 26):
            clock.now = float(second)
            tick("[3] packages")
    assert output.getvalue().splitlines() == [
        "building: 0 s (about 1 min expected on two cores)",
        "building: 10 s (about 1 min expected on two cores), [3] packages",
        "building: 20 s (about 1 min expected on two cores), [3] packages",
        "building: done in 25 s",
    ]


def test_a_failed_task_is_not_called_done() -> None:
    output = io.StringIO()
    report = ConsoleReporter(Console(file=output, force_terminal=False), Clock())
    with pytest.raises(KeyboardInterrupt), report.task("building"):
        raise KeyboardInterrupt
    assert "done" not in output.getvalue()


def test_a_terminal_shows_the_detail_live() -> None:
    output = io.StringIO()
    report = ConsoleReporter(Console(file=output, force_terminal=True, width=100), Clock())
    with report.task("building") as tick:
        tick("812 packages compiled")
    assert "building: done in 0 s" in output.getvalue()


@pytest.mark.parametrize(("elapsed", "text"), [(59.4, "x: 59 s"), (60.0, "x: 1 min"), (125.0, "x: 2 min 5 s")])
def test_times_read_as_people_say_them(elapsed: float, text: str) -> None:
    assert describe("x", elapsed, None, "") == text
