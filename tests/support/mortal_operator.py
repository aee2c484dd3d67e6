"""An operator that ends at every step of its rollout controller, once at each, and is begun anew. A program of its own:

    python -m tests.support.mortal_operator DEATHS

It forks from one warm process, so that a life costs little more than its work. DEATHS is a file with a line for each
end, `step moment`; when every place had its turn the last life goes on as any operator does. The product knows nothing
of it: the plan is armed from outside, as in tests/unit/rollout/test_steps.py.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import httpcore  # noqa: F401 - as the next one
from orchestrator_operator import app  # noqa: F401 - imported before the fork, so that no life has to wait for it
from orchestrator_operator.cli import operator  # noqa: F401 - as the one before
from orchestrator_operator.rollout import steps
from orchestrator_operator.rollout.steps import Moment, Step

from orchestrator.cli.main import main as orchestrator

if TYPE_CHECKING:
    from collections.abc import Callable

PLACES = tuple(product(Step, Moment))
_DIED = 86  # the exit status of a life that ended at a step
_PR_SET_PDEATHSIG = 1


def deaths(ledger: Path) -> list[tuple[Step, Moment]]:
    """Where it has ended so far, in that order."""
    lines = ledger.read_text(encoding="ascii").splitlines() if ledger.exists() else []
    return [(Step(step), Moment(moment)) for step, moment in (line.split() for line in lines)]


def main(ledger: Path) -> int:
    """Live until no place is left to die at, then until somebody else ends it."""
    while True:
        died = set(deaths(ledger))
        child = os.fork()
        if child == 0:
            _live(ledger, died)
        signal.signal(signal.SIGTERM, lambda *_, child=child: os.kill(child, signal.SIGTERM))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != _DIED:
            return code


def _live(ledger: Path, died: set[tuple[Step, Moment]]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    steps.arm(_plan(ledger, died))
    sys.argv = ["orchestrator", "operator", "run"]
    try:
        orchestrator()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    os._exit(0)


def _plan(ledger: Path, died: set[tuple[Step, Moment]]) -> Callable[[Step, Moment], None]:
    def reached(step: Step, moment: Moment) -> None:
        if (step, moment) not in died:
            with ledger.open("a", encoding="ascii") as file:
                file.write(f"{step} {moment}\n")
            os._exit(_DIED)

    return reached


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
