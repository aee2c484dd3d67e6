"""The shape of a workflow as people write it: `spec` of the resource Workflow, in a cluster and in a file alike.

The CRD is generated from these models. What they cannot say (needs, cycles, expressions) authoring.py checks.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestrator import durations
from orchestrator.durations import PATTERN

MAX_NODES = 10_000
ID_PATTERN = r"^[a-z][A-Za-z0-9_]*$"


def _duration(text: str) -> str:
    durations.parse(text)
    return text


def _positive_duration(text: str) -> str:
    if durations.show(durations.parse(text)) == "0s":
        raise ValueError("must be at least 1ms")
    return text


def _camel(name: str) -> str:
    head, *tail = name.rstrip("_").split("_")
    return head + "".join(part.capitalize() for part in tail)


# The pattern is for the CRD's readers; the validator gives the sentence.
Duration = Annotated[str, AfterValidator(_duration), Field(json_schema_extra={"pattern": PATTERN})]
PositiveDuration = Annotated[str, AfterValidator(_positive_duration), Field(json_schema_extra={"pattern": PATTERN})]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=_camel)


RetryRule = Annotated[str, Field(pattern=r"^([1-5]xx|[1-5][0-9]{2}|[A-Za-z][A-Za-z0-9]{0,63})$")]


class RetrySpec(_Spec):
    """When a failed attempt is repeated. What is not written comes from `spec.defaults.retry`, then from built-ins."""

    max_attempts: int | None = Field(
        default=None, ge=1, le=1000, description="Attempts in all, the first one included; 5 by default."
    )
    initial_interval: Duration | None = Field(
        default=None, description="The delay after the first failed attempt; 500ms by default."
    )
    multiplier: float | None = Field(
        default=None, ge=1, le=100, description="What the delay grows by with each attempt; 2 by default."
    )
    max_interval: Duration | None = Field(default=None, description="The longest delay; 1m by default.")
    max_elapsed: PositiveDuration | None = Field(
        default=None, description="No attempt begins later than this after the first one began; no limit by default."
    )
    jitter: Literal["full", "none"] | None = Field(
        default=None, description="full (default): a random part of the delay is waited; none: all of it."
    )
    retryable: list[RetryRule] | None = Field(
        default=None,
        min_length=1,
        description="Only these errors are retried: kinds (Timeout), HTTP statuses (503), classes of them (5xx). By "
        "default what each error says of itself.",
    )
    non_retryable: list[RetryRule] | None = Field(
        default=None, min_length=1, description="These errors are never retried, whatever `retryable` says."
    )


class DefaultsSpec(_Spec):
    """What holds for every node that does not say otherwise."""

    timeout: PositiveDuration | None = Field(
        default=None, description="How long one attempt of a node may take; 30s by default."
    )
    retry: RetrySpec = Field(default_factory=RetrySpec, description="When failed attempts are repeated.")


class InputSpec(_Spec):
    """What an execution must be given."""

    schema_: dict[str, Any] | None = Field(
        default=None, description="A JSON Schema (draft 2020-12) that every execution's input is checked against."
    )


class CompensateSpec(_Spec):
    """What takes a node's effect back; of a map, each item's."""

    type: str = Field(description="A type that does work: http, python or transform.")
    with_: dict[str, Any] = Field(
        default_factory=dict, description="As in a node; `result` is the output that is taken back, `item` the item."
    )
    retry: RetrySpec = Field(default_factory=RetrySpec, description="When its failed attempts are repeated.")
    timeout: PositiveDuration | None = Field(default=None, description="How long one attempt of it may take.")
    when_failed: bool = Field(
        default=False, description="Run it, too, when the node itself failed, for its effect may have taken place."
    )


class NodeSpec(_Spec):
    """One step of a workflow."""

    id: str = Field(
        pattern=ID_PATTERN,
        max_length=63,
        description="The node's name within the workflow: a lower-case letter, then letters, digits and underscores.",
    )
    type: str = Field(
        description="What the node does: http, python, transform, workflow, map; wait, signal, approval; switch, fail."
    )
    needs: list[str] = Field(
        default_factory=list, description="The nodes that come before; nodes without any begin at once."
    )
    join: Literal["all", "any", "always"] = Field(
        default="all",
        description="When it begins: all that it needs are completed (all), one is (any), or all are over, whatever "
        "became of them, after a failure too (always).",
    )
    when: str | None = Field(
        default=None, description="One ${ … } that gives true or false; the node is skipped if it is false."
    )
    with_: dict[str, Any] = Field(
        default_factory=dict, description="What the node works with; strings may contain ${ … }."
    )
    retry: RetrySpec = Field(default_factory=RetrySpec, description="When this node's failed attempts are repeated.")
    timeout: PositiveDuration | None = Field(default=None, description="How long one attempt of this node may take.")
    output: Any = Field(
        default=None,
        description="What stands for the node's output, with ${ … } over `result`, which is what it gave.",
    )
    compensate: CompensateSpec | None = Field(
        default=None, description="How the node's effect is taken back when the execution fails later."
    )


class ConcurrencySpec(_Spec):
    """How many executions run at once."""

    limit: int = Field(ge=1, le=100_000, description="Executions that are begun and not over.")
    policy: Literal["queue", "skip", "replace"] = Field(
        default="queue",
        description="What becomes of one more: it waits (queue), ends at once as cancelled (skip), or the oldest one "
        "is asked to cancel and it takes that place (replace).",
    )
    key: str | None = Field(default=None, description="A ${ … } over `input`: each value has a limit of its own.")


class WorkflowSpec(_Spec):
    """A workflow: nodes that need each other, and what comes out."""

    description: str | None = Field(default=None, description="What the workflow is for, in a sentence.")
    input: InputSpec = Field(default_factory=InputSpec, description="What the input of an execution looks like.")
    defaults: DefaultsSpec = Field(default_factory=DefaultsSpec, description="What holds for every node.")
    timeout: PositiveDuration | None = Field(
        default=None, description="How long a whole execution may take from its start; for ever by default."
    )
    concurrency: ConcurrencySpec | None = Field(
        default=None, description="How many executions of this workflow run at once; any number by default."
    )
    on_cancel: Literal["stop", "compensate"] = Field(
        default="stop", description="What a cancelled execution does with what it has done: nothing, or compensate it."
    )
    nodes: list[NodeSpec] = Field(min_length=1, max_length=MAX_NODES, description="The steps.")
    output: Any = Field(
        default=None, description="What an execution puts out when it succeeds: any JSON, with ${ … } in its strings."
    )
