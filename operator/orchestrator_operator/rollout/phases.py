"""The one table of a rollout's phases. Everything that changes a phase goes through `advance`.

    Pending → Progressing ⇄ Paused | Held | AwaitingApproval → Completed
    from any of these, Completed too: → RollingBack → RolledBack → Pending (re-armed by a person)

The three phases in which a stage waits may follow each other directly: a rollout that waits for approval can go blind.
"""

from __future__ import annotations

from orchestrator.errors import IllegalTransition
from orchestrator_operator.specs.rollout_status import Phase

_WAITING = frozenset({Phase.PAUSED, Phase.HELD, Phase.AWAITING_APPROVAL})
_FROM_A_STAGE = frozenset({Phase.PROGRESSING, *_WAITING, Phase.COMPLETED, Phase.ROLLING_BACK})

LEGAL: dict[Phase, frozenset[Phase]] = {
    Phase.PENDING: frozenset({Phase.PROGRESSING, Phase.ROLLING_BACK}),
    Phase.PROGRESSING: _FROM_A_STAGE - {Phase.PROGRESSING},
    Phase.PAUSED: _FROM_A_STAGE - {Phase.PAUSED},
    Phase.HELD: _FROM_A_STAGE - {Phase.HELD},
    Phase.AWAITING_APPROVAL: _FROM_A_STAGE - {Phase.AWAITING_APPROVAL},
    Phase.COMPLETED: frozenset({Phase.ROLLING_BACK}),
    Phase.ROLLING_BACK: frozenset({Phase.ROLLED_BACK}),
    Phase.ROLLED_BACK: frozenset({Phase.PENDING}),
}

IN_A_STAGE = frozenset({Phase.PROGRESSING, *_WAITING})  # the flag says `true` with a share
OVER = frozenset({Phase.ROLLING_BACK, Phase.ROLLED_BACK})  # the flag is clear, and stays so


def advance(phase: Phase, to: Phase) -> Phase:
    """The next phase; staying is always legal. Raises IllegalTransition for a pair that the table does not have."""
    if to is not phase and to not in LEGAL[phase]:
        legal = ", ".join(sorted(LEGAL[phase]))
        raise IllegalTransition(f"a rollout cannot go from {phase} to {to}; from there it can go to {legal}")
    return to
