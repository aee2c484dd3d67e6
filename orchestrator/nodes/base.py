"""What every node type is: a checked `with`, and one asynchronous method that turns it into an output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic import ValidationInfo as _Info

from orchestrator.errors import Problem, StepError
from orchestrator.model import step_key
from orchestrator.problems import problems_of
from orchestrator.templates import is_template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from orchestrator.model import Engine, Trace

_AUTHORING = "authoring"  # the validation context's key: expressions still stand for values


def _no_secrets(_namespace: str, name: str, key: str) -> str:
    message = f"there is nobody here to ask for the secret {name!r}, key {key!r}: only a worker gives them to functions"
    raise StepError("SecretsOff", message, retryable=False)


@dataclass(frozen=True, slots=True)
class StepContext:
    """One attempt of one node in one execution: what a node may know about where it runs."""

    execution_id: str
    workflow_id: str  # "namespace/name"
    namespace: str
    node_id: str
    attempt: int  # from 1
    engine: Engine
    timeout: timedelta
    item: str | None = None  # the key of a map's item
    resource: str = ""  # the name of its Execution resource, where a node type needs it and there is one
    key: str | None = None  # the engine's idempotency key, where it is not the plain one
    trace: Trace | None = None  # the trace that this attempt is in: requests hand it on
    # Given to functions by the worker: namespace, name and key to the value.
    read_secret: Callable[[str, str, str], str] = field(default=_no_secrets, repr=False, compare=False)

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this step, and for no other step: `execution/node[/item]`, with `:compensate`
        behind it for a compensation.
        """
        return self.key or f"{self.execution_id}/{step_key(self.node_id, self.item)}"

    def secret(self, name: str, key: str) -> str:
        """A value of a Secret in the execution's own namespace; masked in outputs, failures and logs from now on.

        Raises StepError `SecretsOff`, `SecretMissing` (retryable) or `SecretUnusable`.
        """
        return self.read_secret(self.namespace, name, key)


def _or_expression(value: Any, handler: ValidatorFunctionWrapHandler, info: _Info) -> Any:
    """While a workflow is checked an expression may stand for any value; what it gives is checked when it ran."""
    if info.context and info.context.get(_AUTHORING) and is_template(value):
        return value
    return handler(value)


OrExpression = WrapValidator(_or_expression)
Text = Annotated[str, OrExpression]


class With(BaseModel):
    """The base of every type's `with`: no unknown fields, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


WithT = TypeVar("WithT", bound=With)


class NodeType(ABC, Generic[WithT]):
    """One type of node. Subclasses name their `With` and implement `run`."""

    name: ClassVar[str]
    With: ClassVar[type[With]]
    instant: ClassVar[bool] = False  # `run` never waits, so that it needs no limit of time
    keeps_time: ClassVar[bool] = False  # `run` keeps to the context's timeout itself
    checked: ClassVar[bool] = False  # `run` has seen to it that its output is JSON that a store can keep

    @classmethod
    def check_with(cls, with_: Mapping[str, Any], path: str) -> list[Problem]:
        """What is wrong with a `with` as it is written, expressions standing for values."""
        try:
            cls.With.model_validate(dict(with_), context={_AUTHORING: True})
        except ValidationError as error:
            return problems_of(error, path)
        return []

    @classmethod
    def parse(cls, with_: Any, path: str = "with") -> WithT:
        """The evaluated `with`; raises StepError `InvalidWith`, which no retry would mend."""
        try:
            return cls.With.model_validate(with_)  # type: ignore[return-value]  # a ClassVar cannot name the parameter
        except ValidationError as error:
            found = "; ".join(str(problem) for problem in problems_of(error, path))
            raise StepError("InvalidWith", found, retryable=False) from None

    @abstractmethod
    async def run(self, with_: Mapping[str, Any], context: StepContext) -> Any:
        """Do the work of one attempt and return its output; raises StepError. `with_` is evaluated already."""

    async def aclose(self) -> None:
        """Give back connections and threads."""
