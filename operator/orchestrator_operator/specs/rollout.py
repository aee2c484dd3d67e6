"""What a person writes in an EngineRollout. Shape here; what only a sentence can say in rollout_checks.py.

Percents are Decimals of at most two places, durations timedeltas (`7d`, `10m`, `250ms` in the document).
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from orchestrator.cohorts import middle
from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.specs.rollout_checks import check
from orchestrator_operator.specs.rollout_words import (
    Breach,
    CriterionType,
    DeletionPolicy,
    InFlight,
    Preset,
    Then,
    Underpowered,
)
from orchestrator_operator.specs.scalars import Duration, DurationOrZero, Percent  # noqa: TC001 - pydantic reads them

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails


def _dates(value: Any) -> Any:
    """A YAML reader makes a date of what stands without quotes."""
    if isinstance(value, list | tuple):
        return [item.isoformat() if isinstance(item, date) else item for item in value]
    return value


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Flag(_Part):
    """The flag that this rollout owns."""

    secret: Annotated[str, Field(description="The Secret that holds the flag's keys; it must exist.")] = (
        "orchestrator-flags"  # noqa: S105 - a Secret's name, not its content
    )


class Stage(_Part):
    """One step of the ramp."""

    name: Annotated[str, Field(description="What people call it; unique.")]
    percent: Annotated[Percent, Field(description="The share of new executions that V2 gets; two places at most.")]
    duration: Annotated[Duration, Field(description="How long it lasts at least.")]
    approval: Annotated[bool, Field(description="Whether a person must let the rollout into this stage.")] = False
    holdback: Annotated[
        Percent, Field(description="At 100 %: the share that stays on V1 during the stage, to compare with.")
    ] = Decimal(0)

    @property
    def share(self) -> Decimal:
        """What V2 really gets, in per cent: the probability of the coin that is tossed for each execution."""
        return min(self.percent, 100 - self.holdback)


class PassMargin(_Part):
    """How much worse V2 may be and still pass: the wider of the two counts."""

    relative: Annotated[float, Field(description="Relative risk that a Pass rules out.")] = 1.5
    absolute: Annotated[float, Field(description="Difference of the shares that a Pass rules out.")] = 0.005


class Analysis(_Part):
    """How the comparisons are judged."""

    restart: Annotated[Duration, Field(description="How often the evidence starts afresh, beside the whole.")] = (
        timedelta(days=1)
    )
    interval: Annotated[Duration, Field(description="How long a bin of a user's own counters stays open at most.")] = (
        timedelta(minutes=5)
    )
    ages: Annotated[tuple[Duration, ...], Field(description="The ages at which each execution is read, ascending.")] = (
        timedelta(minutes=1),
        timedelta(minutes=10),
        timedelta(hours=24),
    )
    false_rollback: Annotated[
        float, Field(description="The chance to roll a harmless V2 back, over the whole rollout, all criteria.")
    ] = 0.01
    false_pass: Annotated[float, Field(description="The chance that a criterion passes a V2 at the margin.")] = 0.05
    tolerate: Annotated[float, Field(description="Relative risk up to which V2 counts as not worse.")] = 1.0
    pass_margin: Annotated[PassMargin, Field(description="What a Pass shows.")] = PassMargin()
    minimum_executions: Annotated[int, Field(description="Executions that each arm must have had in a stage.")] = 200
    underpowered: Annotated[
        Underpowered, Field(description="What a stage does that ends without Pass and without Fail.")
    ] = Underpowered.APPROVE
    extend: Annotated[DurationOrZero, Field(description="How much longer a stage may last to reach a Pass.")] = (
        timedelta(days=7)
    )

    @property
    def middle_age(self) -> timedelta:
        """Where `failures` spend most of the error level."""
        return self.ages[middle(len(self.ages))]


class Criterion(_Part):
    """One thing that V2 is judged by."""

    name: Annotated[str, Field(description="What people call it; unique.")]
    type: Annotated[CriterionType, Field(description="comparison | guardrail")]
    required: Annotated[bool, Field(description="Whether a stage needs its Pass. Its Fail counts in any case.")] = True
    preset: Annotated[Preset | None, Field(description="What is counted, out of what comes with the product.")] = None
    query: Annotated[
        str | None, Field(description="A guardrail's PromQL expression; $engine becomes v2. The largest value counts.")
    ] = None
    max: Annotated[float | None, Field(description="The largest value that a guardrail allows.")] = None
    for_: Annotated[DurationOrZero, Field(alias="for", description="How long it must be exceeded.")] = timedelta(0)
    on_breach: Annotated[Breach, Field(description="What a broken guardrail does: Hold | Rollback.")] = Breach.HOLD
    bad: Annotated[str | None, Field(description="A counter of your own: what is bad. $engine becomes v1 and v2.")] = (
        None
    )
    total: Annotated[str | None, Field(description="A counter of your own: all there is. $engine as above.")] = None


class Windows(_Part):
    """When promotions may happen. A rollback never waits for a window."""

    time_zone: Annotated[str, Field(description="Of the IANA database, such as America/Sao_Paulo.")] = "UTC"
    promote: Annotated[
        tuple[str, ...], Field(description="Such as 'Mon-Thu 09:00-17:00', local time; none: at any time.")
    ] = ()
    freeze: Annotated[
        tuple[str, ...],
        BeforeValidator(_dates),
        Field(description="Local dates without promotions, both included: 2026-12-20/2027-01-04."),
    ] = ()


class SecretKey(_Part):
    """One key of a Secret in the operator's namespace."""

    secret: Annotated[str, Field(description="The Secret's name.")]
    key: Annotated[str, Field(description="The key in it.")]


class Notify(_Part):
    """Who is told of promotions, holds and rollbacks beside the Kubernetes Events."""

    webhook: Annotated[SecretKey, Field(description="Where the webhook's URL is kept: whoever knows it may post.")]


class Blindness(_Part):
    """What happens while the metrics cannot be read."""

    budget: Annotated[DurationOrZero, Field(description="How long a stage may be blind in all.")] = timedelta(hours=2)
    then: Annotated[Then, Field(description="What follows after that: Hold | Rollback.")] = Then.HOLD


class Rollback(_Part):
    """How a rollback goes on after the flag is clear."""

    in_flight: Annotated[InFlight, Field(description="V2's executions: Drain | Cancel.")] = InFlight.DRAIN
    cooldown: Annotated[DurationOrZero, Field(description="How long after it the next attempt may start.")] = timedelta(
        hours=24
    )


_WEEKS = tuple(
    Stage(name=f"week-{number}", percent=Decimal(percent), duration=timedelta(days=7))
    for number, percent in enumerate((5, 25, 50, 100), start=1)
)
_CRITERIA = (
    Criterion(name="failures", type=CriterionType.COMPARISON, preset=Preset.FAILURES),
    Criterion(name="first-attempts", type=CriterionType.COMPARISON, preset=Preset.FIRST_ATTEMPT_FAILURES),
    Criterion(name="duration", type=CriterionType.COMPARISON, preset=Preset.SLOWER_THAN_BASELINE),
    Criterion(
        name="slow-checkpoint",
        type=CriterionType.GUARDRAIL,
        preset=Preset.SLOW_CHECKPOINTS,
        max=0.05,
        for_=timedelta(minutes=15),
    ),
    Criterion(
        name="stalled",
        type=CriterionType.GUARDRAIL,
        query='orchestrator_executions_stalled{engine="v2"}',
        max=0,
        for_=timedelta(minutes=10),
    ),
)


class RolloutSpec(_Part):
    """Moves new executions from V1 to V2 in stages."""

    flag: Annotated[Flag, Field(description="The flag that it owns.")] = Flag()
    attempt: Annotated[int, Field(description="Raised by a person to start again after a rollback.")] = 1
    paused: Annotated[bool, Field(description="Stops promotion; rollbacks happen all the same.")] = False
    stages: Annotated[tuple[Stage, ...], Field(description="The ramp: percents ascending, the last 100.")] = _WEEKS
    analysis: Annotated[Analysis, Field(description="How the comparisons are judged.")] = Analysis()
    criteria: Annotated[tuple[Criterion, ...], Field(description="What V2 is judged by.")] = _CRITERIA
    blind: Annotated[Blindness, Field(description="What happens while the metrics cannot be read.")] = Blindness()
    windows: Annotated[Windows, Field(description="When promotions may happen.")] = Windows()
    rollback: Annotated[Rollback, Field(description="How a rollback goes on after the flag is clear.")] = Rollback()
    deadman: Annotated[
        DurationOrZero, Field(description="Routers fall back to V1 when nobody renewed the flag for so long; 0: never.")
    ] = timedelta(hours=6)
    deletion_policy: Annotated[DeletionPolicy, Field(description="The flag on deletion: Clear | Keep.")] = (
        DeletionPolicy.CLEAR
    )
    notify: Annotated[Notify | None, Field(description="Who else is told.")] = None

    @property
    def comparisons(self) -> tuple[Criterion, ...]:
        return tuple(item for item in self.criteria if item.type is CriterionType.COMPARISON)

    @property
    def guardrails(self) -> tuple[Criterion, ...]:
        return tuple(item for item in self.criteria if item.type is CriterionType.GUARDRAIL)

    @property
    def planned(self) -> timedelta:
        """How long all stages last together, without extensions."""
        return sum((stage.duration for stage in self.stages), timedelta(0))


def parse_rollout(spec: Mapping[str, Any]) -> RolloutSpec:
    """The spec as a person wrote it, checked; raises InvalidInput with every problem, each with its field's path."""
    try:
        parsed = RolloutSpec.model_validate(spec)
    except ValidationError as error:
        raise InvalidInput([_problem(details) for details in error.errors()]) from None
    if problems := tuple(check(parsed)):
        raise InvalidInput(problems)
    return parsed


def dump_rollout(spec: RolloutSpec) -> str:
    """All of a spec, its defaults too, as JSON: it means the same to a version with other defaults."""
    return json.dumps(spec.model_dump(mode="json", by_alias=True, exclude_none=True), separators=(",", ":"))


def load_rollout(text: str) -> RolloutSpec | None:
    """What `dump_rollout` made; None if there is nothing, or if it cannot be read."""
    try:
        return RolloutSpec.model_validate_json(text) if text else None
    except ValidationError:
        return None


def _problem(details: ErrorDetails) -> Problem:
    path = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in details["loc"])
    if details["type"] == "extra_forbidden":
        return Problem(path, "no such field: remove it or correct its name")
    if details["type"] == "missing":
        return Problem(path, "this field is required")
    return Problem(path, details["msg"].removeprefix("Value error, "))
