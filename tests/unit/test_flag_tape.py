"""The referee of the faults' stories: it finds a rise that nobody decided, whatever else stands in the log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.flag_tape import OPERATOR, State, unmatched


def state(percent: float, manager: str = OPERATOR) -> State:
    return State(datetime(2026, 3, 1, tzinfo=UTC), percent, clear=not percent, manager=manager if percent else "")


def row(percent: float, action: str = "SetPercent", reason: str = "SpecEdited") -> dict[str, Any]:
    return {"action": action, "reason": reason, "planned": {"status": {"percent": str(percent)}}}


START, PROMOTE, EDITED = row(20, "Start", "Started"), row(40, "Promote", "Passed"), row(20, reason="FlagEdited")
BACK = row(0, "RollBack", "Aborted")


def test_each_rise_has_a_decision_of_its_own() -> None:
    assert unmatched([START, PROMOTE], [state(0), state(20), state(20), state(40)]) == []


def test_a_rise_that_nobody_decided_is_found() -> None:
    assert unmatched([START], [state(0), state(20), state(40)]) == [40]


def test_one_decision_explains_one_rise() -> None:
    assert unmatched([START, BACK], [state(0), state(20), state(0), state(20)]) == [20]


def test_a_decision_does_not_explain_what_came_before_it() -> None:
    assert unmatched([PROMOTE, START], [state(0), state(20), state(40)]) == [40]


@pytest.mark.parametrize("surplus", [1, 20])
def test_settings_back_after_an_edit_explain_no_rise_from_what_the_operator_wrote_itself(surplus: int) -> None:
    seen = [state(0), state(20), state(60, "argocd"), state(20), state(0), state(20)]
    assert unmatched([START, *[EDITED] * surplus, BACK], seen) == [20]


def test_a_setting_back_explains_the_rise_from_somebody_elses_lower_percent() -> None:
    seen = [state(0), state(20), state(5, "argocd"), state(20)]
    assert unmatched([START, EDITED], seen) == []
    assert unmatched([START], seen) == [20]


def test_what_others_raise_is_not_the_operators() -> None:
    assert unmatched([START], [state(0), state(20), state(60, "argocd")]) == []
