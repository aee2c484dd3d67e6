"""Steps in the tester's hand: each attempt is noted, functions run at once, and stubs stand for the world outside."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from orchestrator.errors import StepError
from orchestrator.functions import REGISTRY, Functions
from orchestrator.nodes.base import NodeType, StepContext, With
from orchestrator.nodes.runner import NodeRunner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from orchestrator.model import Node

#: What stands for a node: it is given its evaluated `with` and the attempt's context (its `attempt` counts from 1, its
#: `idempotency_key` is the same for every attempt), and returns the output, or raises StepError.
Stub: TypeAlias = "Callable[[Any, StepContext], Any | Awaitable[Any]]"

_OUTSIDE: Final = ("http", "container")  # types that would leave the process


@dataclass(frozen=True, slots=True)
class Effect:
    """An attempt that ran."""

    execution_id: str
    node: str
    attempt: int
    key: str  # the idempotency key
    with_: Any  # evaluated


class StubbedRunner(NodeRunner):
    """The product's own runner, but for what it would do outside of the process.

    A stub stands for a node by its id, or for all nodes of a type by the type's name. A `http` or `container` node
    without one fails with `NoStub`.
    """

    def __init__(self, functions: Functions | Mapping[str, Callable[..., Any]], stubs: Mapping[str, Stub]) -> None:
        super().__init__(functions=_inline(functions))
        self.effects: list[Effect] = []
        self._stubs = dict.fromkeys(_OUTSIDE, _missing) | dict(stubs)
        self._nodes |= {_type(name): _Stubbed(stub) for name, stub in self._stubs.items()}

    async def run(self, node: Node, evaluated_with: Mapping[str, Any], context: StepContext) -> Any:
        key = context.idempotency_key
        self.effects.append(Effect(context.execution_id, node.id, context.attempt, key, evaluated_with))
        name = next((name for name in (node.id, node.type) if name in self._stubs), None)
        return await super().run(node if name is None else replace(node, type=_type(name)), evaluated_with, context)


class _Stubbed(NodeType[With]):
    """Runs a stub as if it were a node."""

    name: ClassVar[str] = "stub"
    With = With

    def __init__(self, stub: Stub) -> None:
        self._stub = stub

    async def run(self, with_: Mapping[str, Any], context: StepContext) -> Any:
        result = self._stub(with_, context)
        return await result if inspect.isawaitable(result) else result


def _type(name: str) -> str:
    return f"stub for {name}"


def _missing(_with: Any, context: StepContext) -> Any:
    message = f"node {context.node_id!r} would leave this process: give the bench stubs={{{context.node_id!r}: …}}"
    raise StepError("NoStub", message, retryable=False)


def _inline(functions: Functions | Mapping[str, Callable[..., Any]]) -> Functions:
    """Functions that run on the loop, the plain ones too: in a thread they would run while time stands still."""
    if isinstance(functions, Functions):
        functions = {name: functions.lookup(name) for name in functions.names()}
    inline = Functions()
    for name, function in functions.items():
        inline.register(function if inspect.iscoroutinefunction(function) else _coroutine(function), name)
    return inline


def _coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return call


__all__ = ["REGISTRY", "Effect", "Stub", "StubbedRunner"]
