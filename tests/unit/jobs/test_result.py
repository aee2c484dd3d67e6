"""What a program left behind, as a step's output."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrator_operator.jobs.result import LOG_LIMIT, log_tail, parse_result, with_last_line

from orchestrator.errors import StepError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"n": 1}\n', {"n": 1}),
        ("3", 3),
        ("done\n", "done"),
        ("", None),
        (" \n", None),
        ('"x"', "x"),
        ("[" * 9, "[" * 9),
    ],
)
def test_json_is_its_value_and_other_text_is_text(text: str, value: Any) -> None:
    assert parse_result(text, 4096, "/dev/termination-log") == value


def test_what_may_have_been_cut_off_is_too_large() -> None:
    assert parse_result("é" * 2047, 4096, "x") == "é" * 2047
    with pytest.raises(StepError) as refused:
        parse_result("é" * 2048, 4096, "/dev/termination-log")
    assert (refused.value.kind, refused.value.retryable) == ("ResultTooLarge", False)


def test_the_end_of_a_log_is_kept_in_whole_lines() -> None:
    assert log_tail("a\nb\n") == "a\nb\n"
    kept = log_tail("x" * LOG_LIMIT + "\nlast\n")
    assert kept == "last\n"
    assert log_tail("y" * (LOG_LIMIT + 5)) == "y" * LOG_LIMIT


def test_a_failure_says_what_the_program_said_last() -> None:
    assert with_last_line("exit code 3", "begun\nno such order\n\n") == "exit code 3; it said last: no such order"
    assert with_last_line("exit code 3", None) == "exit code 3"
