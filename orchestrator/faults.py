"""Where a commit can go wrong: every commit of a store has a name here, and three moments.

A store announces each moment by `reach`. Nothing happens unless a test armed a plan (`orchestrator.testing`): then the
process may end there, or the caller be told that the database did not answer although it committed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Boundary(StrEnum):
    """Every kind of commit that a store makes."""

    MIGRATE = "migrate"
    PUT_WORKFLOW = "put-workflow"
    SUBMIT = "submit"
    DELIVER = "deliver"
    CLAIM = "claim"
    RENEW = "renew"
    RELEASE = "release"
    APPEND = "append"
    V1_UPDATE = "v1-update"
    WATCH = "watch"
    WATCH_ON = "watch-on"
    WATCH_NOTE = "watch-note"
    WATCH_END = "watch-end"
    WATCH_OFF = "watch-off"
    HEAL_LIMITS = "heal-limits"
    WRITTEN = "written"
    LOG = "log"
    DROP_LOGS = "drop-logs"
    DROP_FINISHED = "drop-finished"
    COUNT_COHORTS = "count-cohorts"
    SAVE_TOTALS = "save-totals"
    TAKE_BASELINES = "take-baselines"
    SAVE_BINS = "save-bins"
    DROP_EVIDENCE = "drop-evidence"
    APPEND_DECISION = "append-decision"


class Moment(StrEnum):
    """Where in a commit."""

    BEFORE = "before"  # nothing is committed yet
    AFTER = "after"  # it is committed, and the caller is about to be told
    LOST = "lost"  # it is committed, and the caller is told that the database did not answer


_plan: Callable[[Boundary, Moment], None] | None = None


def reach(boundary: Boundary, moment: Moment) -> None:
    """Announce a moment of a commit; with a plan armed this may raise, or never return."""
    if _plan is not None:
        _plan(boundary, moment)


def arm(plan: Callable[[Boundary, Moment], None] | None) -> None:
    """Let `plan` hear of every moment from now on; None disarms."""
    global _plan  # noqa: PLW0603 - the one switch of the process: passing it along would burden every call
    _plan = plan
