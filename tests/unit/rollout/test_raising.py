"""What waits for the log: any write of the flag after which more goes to V2 than before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from orchestrator_operator.rollout.acting.raising import raises
from orchestrator_operator.rollout.model import ClearFlag, SetFlag, Unreadable

from orchestrator.flag import CLEAR, FlagSnapshot, FlagValues

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER, EARLIER = "2026-03-01T13:00:00Z", "2026-03-01T11:00:00Z"


def on(percent: str | None, expires: str | None = LATER) -> FlagValues:
    return FlagValues("true", percent, expires)


@pytest.mark.parametrize(
    ("stands", "written", "wanted"),
    [
        (CLEAR, on("5"), True),
        (on("5"), on("25"), True),
        (on("5"), on("5"), False),  # renewed: it must not wait, or routers fall back
        (on("5", EARLIER), on("5"), True),  # it has expired: nothing goes to V2 now
        (on("50"), on("5"), False),
        (on("nonsense"), on("5"), True),
        (on("99"), on(None, None), True),  # completed, and the holdback ends
        (on("100"), on(None, None), False),
        (Unreadable("FlagUnavailable", ""), on("5"), True),
    ],
)
def test_a_write_that_sends_more_to_v2_is_a_raise(stands: Any, written: FlagValues, wanted: bool) -> None:
    flag = stands if isinstance(stands, Unreadable) else FlagSnapshot(stands, "1")
    assert raises(flag, SetFlag(written, "1"), NOW) is wanted


def test_nothing_else_raises() -> None:
    assert not raises(FlagSnapshot(CLEAR), ClearFlag(), NOW)
