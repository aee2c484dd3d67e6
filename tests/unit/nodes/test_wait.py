from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.errors import StepError
from orchestrator.nodes.wait import due

NOW = datetime(2031, 5, 1, 8, tzinfo=UTC)


def test_a_duration_counts_from_now() -> None:
    assert due({"duration": "90s"}, NOW) == NOW + timedelta(seconds=90)


def test_until_is_the_instant_itself() -> None:
    assert due({"until": "2031-05-01T12:00:00+02:00"}, NOW) == NOW + timedelta(hours=2)


def test_an_instant_in_the_past_is_due_already() -> None:
    assert due({"until": "2001-01-01T00:00:00Z"}, NOW) < NOW


@pytest.mark.parametrize(
    ("with_", "message"),
    [
        ({"duration": 5}, "with.duration: must be text"),
        ({"duration": "5"}, "with.duration: '5' is not a duration"),
        ({"until": "tomorrow"}, "with.until: 'tomorrow' is no instant"),
        ({"until": None}, "with: needs exactly one"),
    ],
)
def test_what_an_expression_gave_is_checked_again(with_: dict[str, object], message: str) -> None:
    with pytest.raises(StepError) as caught:
        due(with_, NOW)
    assert (caught.value.kind, caught.value.retryable) == ("InvalidWith", False)
    assert message in caught.value.message
