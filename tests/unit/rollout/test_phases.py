"""The table of phases, walked pair by pair."""

from __future__ import annotations

from itertools import product

import pytest
from orchestrator_operator.rollout.phases import LEGAL, advance
from orchestrator_operator.specs.rollout_status import Phase

from orchestrator.errors import IllegalTransition

# Written out once more on purpose: a change of the table must be a change of two places.
PAIRS = {
    "Pending": "Progressing RollingBack",
    "Progressing": "Paused Held AwaitingApproval Completed RollingBack",
    "Paused": "Progressing Held AwaitingApproval Completed RollingBack",
    "Held": "Progressing Paused AwaitingApproval Completed RollingBack",
    "AwaitingApproval": "Progressing Paused Held Completed RollingBack",
    "Completed": "RollingBack",
    "RollingBack": "RolledBack",
    "RolledBack": "Pending",
}


def test_every_phase_has_its_row() -> None:
    assert set(LEGAL) == set(Phase)


@pytest.mark.parametrize(("phase", "to"), list(product(Phase, Phase)))
def test_a_pair_is_legal_exactly_when_the_table_has_it(phase: Phase, to: Phase) -> None:
    if to is phase or to in PAIRS[phase].split():
        assert advance(phase, to) is to
    else:
        with pytest.raises(IllegalTransition, match=f"from {phase} to {to}"):
            advance(phase, to)
