"""The shape of a workflow as people write it: `spec` of the resource Workflow, in a cluster and in a file alike.

The CRD is generated from these models. What they cannot say (needs, cycles, expressions) authoring.py checks.
A field of the format that is not built yet is declared all the same, so that it can be refused by name: an API server
would drop a field that its schema does not know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator import durations
from orchestrator.durations import PATTERN

MAX_NODES = 500
ID_PATTERN = r"^[a-z][A-Za-z0-9_]*$"


def _duration(text: str) -> str:
    durations.parse(text)
    return text


def _positive_duration(text: str) -> str:
    if durations.show(durations.parse(text)) == "0s":
        raise ValueError("must be at least 1ms")
    return text


def _refuse(_value: Any) -> Any:
    raise ValueError("is not built yet; remove it")


def _camel(name: str) -> str:
    head, *tail = name.rstrip("_").split("_")
    return head + "".join(part.capitalize() for part in tail)


# The pattern is for the CRD's readers; the validator gives the sentence.
Duration = Annotated[str, AfterValidator(_duration), Field(json_schema_extra={"pattern": PATTERN})]
PositiveDuration = Annotated[str, AfterValidator(_positive_duration), Field(json_schema_extra={"pattern": PATTERN})]
NotBuiltYet = Annotated[Any, BeforeValidator(_refuse)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=_camel)


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
    on: NotBuiltYet = Field(default=None, description="Not built yet: a workflow that sets it is refused.")
    non_retryable: NotBuiltYet = Field(default=None, description="Not built yet: a workflow that sets it is refused.")


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


class NodeSpec(_Spec):
    """One step of a workflow."""

    id: str = Field(
        pattern=ID_PATTERN,
        max_length=63,
        description="The node's name within the workflow: a lower-case letter, then letters, digits and underscores.",
    )
    type: str = Field(description="What the node does: http, python, transform or wait.")
    needs: list[str] = Field(
        default_factory=list, description="The nodes that must be completed first; nodes without any begin at once."
    )
    when: str | None = Field(
        default=None, description="One ${ … } that gives true or false; the node is skipped if it is false."
    )
    with_: dict[str, Any] = Field(
        default_factory=dict, description="What the node works with; strings may contain ${ … }."
    )
    retry: RetrySpec = Field(default_factory=RetrySpec, description="When this node's failed attempts are repeated.")
    timeout: PositiveDuration | None = Field(default=None, description="How long one attempt of this node may take.")
    compensate: NotBuiltYet = Field(default=None, description="Not built yet: a workflow that sets it is refused.")


class WorkflowSpec(_Spec):
    """A workflow: nodes that need each other, and what comes out."""

    description: str | None = Field(default=None, description="What the workflow is for, in a sentence.")
    input: InputSpec = Field(default_factory=InputSpec, description="What the input of an execution looks like.")
    defaults: DefaultsSpec = Field(default_factory=DefaultsSpec, description="What holds for every node.")
    concurrency: NotBuiltYet = Field(default=None, description="Not built yet: a workflow that sets it is refused.")
    nodes: list[NodeSpec] = Field(min_length=1, max_length=MAX_NODES, description="The steps.")
    output: Any = Field(
        default=None, description="What an execution puts out when it succeeds: any JSON, with ${ … } in its strings."
    )
