"""What the rules of a rollout look at, and what they answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.judging.judge import current_stage
from orchestrator_operator.rollout.model import Judgement
from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from orchestrator_operator.rollout.model import Action, Gathered, Judged
    from orchestrator_operator.specs.rollout import RolloutSpec, Stage
    from orchestrator_operator.specs.rollout_status import Failed, RolloutStatus

ABORT = "orchestrator.dev/abort"  # any value, best the reason: roll back now
PAUSE = "orchestrator.dev/pause"  # any value, best the reason: no promotion until resume
RESUME = "orchestrator.dev/resume"  # any value
APPROVE = "orchestrator.dev/approve"  # the name that it awaits, or `true` while it awaits one
PROMOTE = (
    "orchestrator.dev/promote"  # the running stage's name, or `true`; `force:NAME`, or `force`, without its criteria
)
VERBS = (ABORT, PAUSE, RESUME, APPROVE, PROMOTE)
APPROVAL_NEEDED = "ApprovalNeeded"  # the one reason for an approval that is known long before
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Situation:
    """What a rule looks at."""

    gathered: Gathered
    judgement: Judgement = field(default_factory=Judgement)

    @property
    def now(self) -> datetime:
        return self.gathered.now

    @property
    def status(self) -> RolloutStatus:
        return self.gathered.status

    @property
    def phase(self) -> Phase:
        return self.gathered.status.phase

    @property
    def spec(self) -> RolloutSpec:
        """Only for rules that come after `never_readable`."""
        if self.gathered.spec is None:
            raise AssertionError("a rule that needs the spec stands before never_readable")
        return self.gathered.spec

    @property
    def stage(self) -> Stage:
        return current_stage(self.spec, self.status.stage_index)

    @property
    def onward(self) -> Stage | None:
        """The next stage; None where the last one runs."""
        index = self.status.stage_index + 1
        return self.spec.stages[index] if index < len(self.spec.stages) else None

    @property
    def stage_end(self) -> datetime:
        return (self.status.stage_started_at or self.now) + self.stage.duration

    @property
    def blind_for(self) -> timedelta:
        """How long this stage has been blind in all, now included."""
        since = self.status.blind_since
        return timedelta(seconds=self.status.blind_spent) + (self.now - since if since else timedelta(0))


@dataclass(frozen=True, slots=True)
class Outcome:
    """A rule's answer."""

    phase: Phase
    verb: str  # the decision in one word: Start, Promote, Hold, RollBack …
    reason: str
    message: str
    changes: Mapping[str, Any] = field(default_factory=lambda: _NONE)  # to the status, beside phase, reason, message
    actions: tuple[Action, ...] = ()
    actor: str = "controller"
    next: datetime | None = None  # when the next planned move is due
    warning: bool = False
    raises: bool = False  # whether V2 gets the stage's share now: nothing else may ever raise the percent


def roll_back(
    s: Situation, reason: str, message: str, *, actor: str = "controller", failed: Failed | None = None
) -> Outcome:
    """The flag is to be cleared, and V2 is over for this attempt."""
    changes: dict[str, Any] = {
        "flag_cleared_at": None,
        "failed": failed,
        "approved": "",
        "approved_for": (),
        "rolled_back_from": s.status.percent,
    }
    if s.gathered.spec is not None:  # what was raised before the rollback does not arm the attempt after it
        changes["attempt"] = max(s.status.attempt, s.gathered.spec.attempt)
    return Outcome(Phase.ROLLING_BACK, "RollBack", reason, message, changes, actor=actor, warning=True)


def wait_in(s: Situation) -> Phase:
    """Where a rollout waits that cannot go on."""
    return Phase.PENDING if s.phase is Phase.PENDING else Phase.HELD


def pause(s: Situation) -> tuple[str, str]:
    """Why it is paused, and who did it: the annotation's word, which holds until resume, or the spec."""
    if s.status.paused_by:
        said = plainly(s.status.paused_by)
        return f"a person paused it{said}; {RESUME} lets it go on", f"person (annotation {PAUSE})"
    return "spec.paused is true", "person (spec.paused)"


def plainly(word: str) -> str:
    """A person's reason as the end of a sentence: `: duplicate mails`; "" where the word says no more than yes."""
    said = word.strip()
    return f": {said}" if said not in ("", "true") else ""


def sentences(judged: Iterable[Judged]) -> str:
    """What these criteria say, in one line."""
    return "; ".join(f"{item.criterion.name}: {item.sentence}" for item in judged)
