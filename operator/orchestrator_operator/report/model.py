"""What a picture of a rollout is made of, wherever it came from: frozen values in the order of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator_operator.rollout.statistics.evidence import Cells
    from orchestrator_operator.specs.rollout_status import CriterionStatus, RolloutStatus

_NOTHING: Mapping[Any, Any] = MappingProxyType({})
Counted = tuple[str, str]  # what is counted (a preset, or a criterion's name), and at which age: ("failures", "10m")


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided at a moment, in one word, one CamelCase word, and a sentence."""

    action: str
    reason: str
    message: str
    actor: str


@dataclass(frozen=True, slots=True)
class Moment:
    """One look at the rollout that was recorded. What stands here holds until the next one."""

    at: datetime
    number: int  # of the row; the place in the record where rows bear none
    percent: float  # of new executions that V2 is to get
    stage: str
    phase: str
    criteria: tuple[CriterionStatus, ...] = ()
    cells: Mapping[Counted, Cells] = field(default_factory=lambda: _NOTHING)
    starts: Cells = ()  # executions that the coin sent to each engine, as good ones, since the attempt began
    decided: Decided | None = None  # None: only looked
    digest: str = ""  # the row's hash, which holds the one before: "" where the source has none
    restarts: int = 0  # restarts of the evidence that had begun
    notes: tuple[str, ...] = ()  # findings about the experiment and not about V2, a sentence each

    @property
    def blind(self) -> bool:
        """Whether a criterion could not be read."""
        return any(item.verdict == "Blind" for item in self.criteria)

    def criterion(self, name: str) -> CriterionStatus | None:
        """One criterion as it was judged then."""
        return next((item for item in self.criteria if item.name == name), None)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Something that lasted: a phase, a stage, blindness."""

    start: datetime
    end: datetime
    name: str
    percent: float = 0.0


def criteria_of(spec: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The criteria of a spec as it was recorded; what is none is left out."""
    found = spec.get("criteria")
    return tuple(item for item in found if isinstance(item, Mapping)) if isinstance(found, list | tuple) else ()


@dataclass(frozen=True, slots=True)
class Report:
    """A rollout's story so far."""

    name: str  # namespace/name, or the file that was simulated
    source: str  # where the moments come from, as a phrase: "the decision log of shop/v2"
    moments: tuple[Moment, ...]  # oldest first, at least one
    status: RolloutStatus
    spec: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)  # as a person wrote it; empty: not known
    limits: Mapping[str, float] = field(default_factory=lambda: _NOTHING)  # of the guardrails, by name
    kind: str = "EngineRollout"
    restart: timedelta | None = None  # how often the evidence starts afresh; None: not known

    @property
    def start(self) -> datetime:
        return self.moments[0].at

    @property
    def end(self) -> datetime:
        """The last moment that is known; a little after the first where there is one only."""
        return max(self.moments[-1].at, self.start + timedelta(seconds=1))

    @property
    def decisions(self) -> tuple[Moment, ...]:
        return tuple(moment for moment in self.moments if moment.decided is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """Every criterion that was ever judged, in the order of the newest judgement."""
        found: dict[str, None] = {}
        for moment in reversed(self.moments):
            found.update((item.name, None) for item in moment.criteria)
        return tuple(found)

    def is_guardrail(self, name: str) -> bool:
        """Whether a criterion is one number against a limit."""
        if name in self.limits:
            return True
        seen = [found for moment in self.moments if (found := moment.criterion(name))]
        return any(item.value is not None for item in seen) and not any(item.n1 is not None for item in seen)
