"""What the controller writes into an EngineRollout's status, and reads back: its whole memory beside the store."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from orchestrator_operator.specs.conditions import Condition  # noqa: TC001 - pydantic reads the annotation

if TYPE_CHECKING:
    from collections.abc import Mapping

DECISIONS_KEPT = 20
CHANGES_KEPT = 50  # of the share


def _instant(value: Any) -> Any:
    return datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) else value


def _show(value: datetime) -> str:
    """To a microsecond: a demo's stages last seconds, and what is written must read back the same."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(_show, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Phase(StrEnum):
    """Where a rollout stands; which may follow which is the table in rollout/phases.py."""

    PENDING = "Pending"  # accepted; nothing has moved yet
    PROGRESSING = "Progressing"  # a stage runs
    PAUSED = "Paused"  # a person stopped promotion
    HELD = "Held"  # something must be cleared up first; `reason` says what
    AWAITING_APPROVAL = "AwaitingApproval"  # a person must say yes
    COMPLETED = "Completed"  # everything runs on V2
    ROLLING_BACK = "RollingBack"  # the flag is being, or is, cleared; V2's executions end
    ROLLED_BACK = "RolledBack"  # nothing is in flight on V2; only a person starts again


class Verdict(StrEnum):
    """What a criterion says now."""

    PASS = "Pass"  # noqa: S105 - a verdict, not a password: shown to be better than the margin
    FAIL = "Fail"  # shown to be worse than tolerated; of a guardrail: broken
    INCONCLUSIVE = "Inconclusive"  # not enough evidence yet, or an arm had no traffic
    BLIND = "Blind"  # the metric could not be read
    NOT_APPLICABLE = "NotApplicable"  # nothing to compare with


class _Part(BaseModel):
    # What an older or newer version wrote must never stop the controller from reading the rest.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class FlagIntent(_Part):
    """What the controller decided the flag should say, written down before it touches the flag."""

    enabled: Annotated[bool, Field(description="False: all keys are to go.")]
    secret: Annotated[str, Field(description="The Secret that it speaks of.")] = ""
    percent: Annotated[str | None, Field(description="USE_ORCHESTRATOR_V2_PERCENT, or none.")] = None
    expires: Annotated[str | None, Field(description="USE_ORCHESTRATOR_V2_EXPIRES, or none.")] = None
    seen_version: Annotated[str, Field(description="The Secret's resourceVersion when it was decided.")] = ""
    confirmed: Annotated[bool, Field(description="Whether the flag was seen to say so.")] = False


class CriterionStatus(_Part):
    """One criterion as it was last judged. k are bad executions, n all; 1 is V1, 2 is V2."""

    name: str
    verdict: Verdict
    sentence: Annotated[str, Field(description="The verdict in words.")] = ""
    age: Annotated[str | None, Field(description="The age whose numbers stand here.")] = None
    k1: int | None = None
    n1: int | None = None
    k2: int | None = None
    n2: int | None = None
    log_evidence: Annotated[float | None, Field(description="ln E that V2 is worse than tolerated.")] = None
    log_threshold: Annotated[float | None, Field(description="ln E at which that is a Fail.")] = None
    log_pass_evidence: Annotated[float | None, Field(description="ln E that V2 is better than the margin.")] = None
    log_pass_threshold: Annotated[float | None, Field(description="ln E at which that is a Pass.")] = None
    value: Annotated[float | None, Field(description="A guardrail's value.")] = None
    breached_since: Annotated[Instant | None, Field(description="Since when a guardrail is exceeded.")] = None


class Decision(_Part):
    """Something that the controller decided, or that a person did to it."""

    at: Instant
    action: Annotated[str, Field(description="What was done.")]
    reason: Annotated[str, Field(description="Why, as one CamelCase word.")]
    message: Annotated[str, Field(description="Why, as a sentence.")]
    actor: Annotated[str, Field(description="controller, or which hand.")] = "controller"
    number: Annotated[int | None, Field(description="Its row in the store's log; none: not written there yet.")] = None
    repeated: Annotated[
        bool | None, Field(description="True: it comes and goes, so nobody is told again by an Event or the webhook.")
    ] = None


class DecisionHead(_Part):
    """The newest row of the store's log that this status knows of."""

    number: int
    hash: Annotated[str, Field(description="SHA-256 over that row, and by it over all rows before.")]


class Word(_Part):
    """What a person said by an annotation, and what came of it; the last one of each verb."""

    verb: Annotated[str, Field(description="abort | approve | pause | promote | resume")]
    value: Annotated[str, Field(description="What the annotation said.")]
    at: Annotated[Instant, Field(description="When it was heard.")]
    done: Annotated[bool, Field(description="Whether it was followed.")]
    answer: Annotated[str, Field(description="What it did, or why it did nothing.")]
    pending: Annotated[bool, Field(description="Whether the annotation has not been seen gone yet.")] = True


class Finding(_Part):
    """A finding about the experiment itself: it holds the rollout, and convicts nobody."""

    reason: str
    sentence: str


class Counted(_Part):
    """What was counted beside the criteria, as it was read last: k1, n1, k2, n2 over all percents."""

    ages: Annotated[tuple[str, ...], Field(description="The ages of these two; of others nothing is known.")] = ()
    starts: Annotated[tuple[int, ...] | None, Field(description="Executions that the coin sent.")] = None
    calibration: Annotated[tuple[int, ...] | None, Field(description="V1's, split once more.")] = None


class Failed(_Part):
    """Why a rollout was rolled back by its criteria: what convicted V2."""

    criterion: str
    counts: Annotated[str, Field(description="Bad executions of all, on each engine.")]
    evidence: Annotated[str, Field(description="The evidence and what it had to reach.")]
    sentence: str


class RolloutStatus(_Part):
    """What is remembered of a rollout. Written whole, newest only."""

    observed_generation: int | None = None
    phase: Annotated[Phase, Field(description="Where it stands.")] = Phase.PENDING
    reason: Annotated[str, Field(description="Why, as one CamelCase word.")] = ""
    message: Annotated[str, Field(description="Why, as a sentence.")] = ""
    stage: Annotated[str, Field(description="The stage's name.")] = ""
    stage_index: Annotated[int, Field(description="The stage's place, from 0.")] = 0
    percent: Annotated[str, Field(description="The share that V2 is to get.")] = "0"
    attempt: Annotated[int, Field(description="The spec's attempt that it acts on, or has rolled back.")] = 0
    attempt_id: Annotated[str, Field(description="The metric's label `attempt`.")] = ""
    started_at: Annotated[Instant | None, Field(description="When this attempt's first stage began.")] = None
    stage_started_at: Annotated[Instant | None, Field(description="When this stage began.")] = None
    share_changed_at: Annotated[
        tuple[Instant, ...], Field(description="When V2's share changed in this attempt: the last 50 times.")
    ] = ()
    flag_intent: Annotated[FlagIntent | None, Field(description="What the flag should say.")] = None
    flag_cleared_at: Annotated[Instant | None, Field(description="When the flag was read back clear.")] = None
    rolled_back_at: Annotated[Instant | None, Field(description="When V2 had nothing in flight any more.")] = None
    rolled_back_from: Annotated[str, Field(description="The share that V2 had when it was rolled back.")] = ""
    verdict: Annotated[str, Field(description="Of all criteria together.")] = ""
    evidence: Annotated[str, Field(description="The strongest evidence against V2, and its threshold.")] = ""
    judged_as: Annotated[
        str,
        Field(description="Hash of all that divides the error level: another one, and it is divided anew."),
    ] = ""
    criteria: Annotated[tuple[CriterionStatus, ...], Field(description="Each criterion's verdict.")] = ()
    counted: Annotated[
        Counted | None, Field(description="Totals beside the criteria's: counters that come back lower were reset.")
    ] = None
    blind: Annotated[str, Field(description="How long this stage has been blind, of what is allowed.")] = ""
    blind_since: Annotated[Instant | None, Field(description="Since when it is blind now.")] = None
    blind_spent: Annotated[float, Field(description="Seconds of blindness in this stage before that.")] = 0.0
    next: Annotated[Instant | None, Field(description="When the next planned move is due.")] = None
    window: Annotated[str, Field(description="Whether promotions are allowed now: open, or closed until when.")] = ""
    paused_by: Annotated[str, Field(description="What a person paused it with; it holds until resume.")] = ""
    restored: Annotated[
        bool | None, Field(description="True: it came back from a backup, and does not begin until it is resumed.")
    ] = None
    awaits: Annotated[str, Field(description="The stage's name that an approval must give to be heard.")] = ""
    awaits_for: Annotated[tuple[str, ...], Field(description="The reasons for which it is awaited.")] = ()
    approved: Annotated[str, Field(description="The stage's name that a person approved last.")] = ""
    approved_for: Annotated[tuple[str, ...], Field(description="The reasons that this approval answers.")] = ()
    heard: Annotated[tuple[Word, ...], Field(description="The last word of each verb, and what came of it.")] = ()
    alarms: Annotated[tuple[Finding, ...], Field(description="Findings about the experiment itself.")] = ()
    failed: Annotated[Failed | None, Field(description="What convicted V2.")] = None
    conditions: Annotated[tuple[Condition, ...], Field(description="For people, tools and `kubectl wait`.")] = ()
    decisions: Annotated[tuple[Decision, ...], Field(description="The last 20, newest last.")] = ()
    readable_spec: Annotated[
        str, Field(description="The last spec that could be read, as JSON: V2 is judged by it until a later one can.")
    ] = ""
    decision_head: Annotated[DecisionHead | None, Field(description="The end of the store's log of decisions.")] = None


def read_status(raw: Mapping[str, Any] | None) -> RolloutStatus:
    """The status as it was written; raises pydantic's ValidationError if somebody else spoiled it."""
    return RolloutStatus.model_validate({key: value for key, value in (raw or {}).items() if value is not None})


def write_status(status: RolloutStatus) -> dict[str, Any]:
    """The whole status for a merge patch: a field that is gone is an explicit null.

    Lists are replaced whole by a merge patch, so a null inside of one would be stored: there they are left out.
    """
    full = status.model_dump(mode="json", by_alias=True)
    return {key: _without_nulls(value) if isinstance(value, list) else value for key, value in full.items()}


def _without_nulls(items: list[Any]) -> list[Any]:
    return [
        {key: value for key, value in item.items() if value is not None} if isinstance(item, dict) else item
        for item in items
    ]
