"""RetryPolicy to RetryDecision: pure. tenacity computes the delay; the store keeps the moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tenacity import RetryCallState, wait_exponential

if TYPE_CHECKING:
    from orchestrator.model import Failure, RetryPolicy


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """`at` is when the next attempt is due, None when there is none; `reason` says why there is none."""

    at: datetime | None
    reason: str = ""


def backoff(policy: RetryPolicy, attempt: int) -> timedelta:
    """The longest delay after the `attempt`-th attempt (from 1): initial · multiplier^(attempt-1), capped."""
    wait = wait_exponential(
        multiplier=policy.initial.total_seconds(),
        exp_base=policy.multiplier,
        max=policy.maximum.total_seconds(),
    )
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]  # only attempt_number is read
    state.attempt_number = attempt
    return timedelta(seconds=wait(state))


def retryable(policy: RetryPolicy, failure: Failure) -> bool:
    """Whether a failure may be retried at all: `non_retryable` first, then `only`, then what the error itself says.

    A rule names a kind of error (`Timeout`), an HTTP status (`503`) or a class of them (`5xx`).
    """
    names = {failure.kind}
    if failure.status is not None:
        names |= {str(failure.status), f"{failure.status // 100}xx"}
    if names.intersection(policy.non_retryable):
        return False
    return bool(names.intersection(policy.only)) if policy.only is not None else failure.retryable


def decide_retry(
    policy: RetryPolicy,
    failure: Failure,
    *,
    attempt: int,
    first_started_at: datetime,
    now: datetime,
    chance: float,
    retry_after: timedelta | None = None,
) -> RetryDecision:
    """Whether and when a step whose `attempt`-th attempt has just failed is tried again.

    `chance` in [0, 1) is the caller's random number: full jitter waits that share of the backoff (Brooker 2015,
    "Exponential Backoff And Jitter"). `retry_after` is how long the service asked to be left alone (RFC 9110,
    10.2.3): no attempt comes before that, even where the backoff is shorter.
    """
    if not retryable(policy, failure):
        return RetryDecision(None, "the error is not retryable")
    if attempt >= policy.max_attempts:
        return RetryDecision(None, f"all {policy.max_attempts} attempts are used up")
    delay = backoff(policy, attempt)
    if policy.jitter == "full":
        delay *= chance
    at = now + max(delay, retry_after or timedelta(0))
    if policy.max_elapsed is not None and at > first_started_at + policy.max_elapsed:
        return RetryDecision(None, f"{policy.max_elapsed} would have passed since the first attempt")
    return RetryDecision(at)
