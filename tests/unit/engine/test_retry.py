"""When a failed attempt is repeated."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import Failure, RetryPolicy
from orchestrator.retry import backoff, decide_retry, retryable
from tests.support.engine import AT, at

POLICY = RetryPolicy(5, timedelta(milliseconds=500), 2, timedelta(minutes=1), "full")


def decide(policy: RetryPolicy = POLICY, *, attempt: int = 1, retryable: bool = True, chance: float = 0.5) -> object:
    failure = Failure("Broken", "broken", retryable=retryable)
    return decide_retry(policy, failure, attempt=attempt, first_started_at=AT, now=AT, chance=chance).at


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (500, 60)])
def test_the_backoff_doubles_up_to_its_cap(attempt: int, seconds: float) -> None:
    assert backoff(POLICY, attempt).total_seconds() == seconds


def test_full_jitter_waits_a_share_of_the_backoff() -> None:
    assert decide(attempt=2, chance=0.25) == at(0.25)


def test_without_jitter_it_waits_all_of_it() -> None:
    assert decide(replace(POLICY, jitter="none"), attempt=2, chance=0.25) == at(1)


def test_an_error_that_no_retry_can_mend_is_not_retried() -> None:
    assert decide(retryable=False) is None


def test_the_last_attempt_is_the_last() -> None:
    assert decide(attempt=4) is not None
    assert decide(attempt=5) is None


def test_it_gives_up_when_too_much_time_has_passed() -> None:
    policy = replace(POLICY, max_elapsed=timedelta(seconds=1), jitter="none")
    assert decide(policy, attempt=1) is not None
    assert decide(policy, attempt=3) is None


@pytest.mark.parametrize(
    ("on", "never", "kind", "status", "tried_again"),
    [
        (None, (), "Broken", None, False),  # what the error says of itself: no
        (("Broken",), (), "Broken", None, True),
        (("Timeout",), (), "Broken", None, False),
        (("503",), (), "HttpStatus", 503, True),
        (("5xx",), (), "HttpStatus", 503, True),
        (("5xx",), (), "HttpStatus", 404, False),
        (("5xx",), ("503",), "HttpStatus", 503, False),
        (("HttpStatus",), ("5xx",), "HttpStatus", 502, False),
        (("HttpStatus",), ("5xx",), "HttpStatus", 404, True),
    ],
)
def test_a_policy_says_which_errors_are_retried(
    on: tuple[str, ...] | None, never: tuple[str, ...], kind: str, status: int | None, tried_again: bool
) -> None:
    policy = replace(POLICY, only=on, non_retryable=never)
    assert retryable(policy, Failure(kind, "m", retryable=False, status=status)) is tried_again


def test_an_error_that_says_it_is_retryable_is_not_retried_when_the_policy_names_others() -> None:
    assert not retryable(replace(POLICY, only=("Timeout",)), Failure("Broken", "m", retryable=True))


def after_request(seconds: float, **policy: Any) -> object:
    decision = decide_retry(
        replace(POLICY, jitter="none", **policy),
        Failure("HttpStatus", "429", retryable=True, status=429),
        attempt=1,
        first_started_at=AT,
        now=AT,
        chance=0.0,
        retry_after=timedelta(seconds=seconds),
    )
    return decision.at


def test_a_service_that_asks_for_time_gets_it_even_beyond_the_cap() -> None:
    assert after_request(90) == at(90)


def test_a_service_that_asks_for_less_than_the_backoff_is_left_alone_for_the_backoff() -> None:
    assert after_request(0.1) == at(0.5)


def test_a_service_that_asks_for_more_time_than_there_is_ends_the_retries() -> None:
    assert after_request(90, max_elapsed=timedelta(seconds=60)) is None


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_delay_is_never_negative_and_never_above_the_cap(attempt: int, chance: float) -> None:
    decision = decide_retry(
        replace(POLICY, max_attempts=20_000),
        Failure("Broken", "broken", retryable=True),
        attempt=attempt,
        first_started_at=AT,
        now=AT,
        chance=chance,
    )
    assert decision.at is not None
    assert AT <= decision.at <= AT + POLICY.maximum
