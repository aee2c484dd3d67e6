"""`python`: calls a function that the worker registered (see orchestrator/functions.py)."""

from __future__ import annotations

import functools
import inspect
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from orchestrator import telemetry
from orchestrator.errors import StepError
from orchestrator.functions import REGISTRY, Function, Functions
from orchestrator.jsonvalues import first_problem
from orchestrator.nodes.base import NodeType, OrExpression, StepContext, With
from orchestrator.nodes.threads import Threads
from orchestrator.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

_THREADS = 32  # plain functions at once
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.:-]*$")


def _name(text: str) -> str:
    if not _NAME.match(text):
        raise ValueError("must be a function's name, such as package.module:function, and no expression")
    return text


class PythonWith(With):
    """Which function, and with what."""

    # No expression here: what code runs is the author's choice, not the input's.
    call: Annotated[str, AfterValidator(_name)] = Field(
        description="The function's name, by default package.module:function."
    )
    args: Annotated[dict[str, Any], OrExpression] = Field(default_factory=dict, description="Its keyword arguments.")


class PythonNode(NodeType[PythonWith]):
    """Runs async functions on the loop, plain ones in threads.

    A thread cannot be stopped: after a time-out a plain function may still run while its next attempt begins, so it
    should hand the context's idempotency key to whatever it changes.
    """

    name: ClassVar[str] = "python"
    With = PythonWith
    checked = True

    def __init__(self, functions: Functions = REGISTRY, secrets: Secrets | None = None) -> None:
        self._functions = functions
        self._secrets = secrets or Secrets()
        self._threads: Threads | None = None

    async def run(self, with_: Mapping[str, Any], context: StepContext) -> Any:
        parsed = self.parse(with_)
        function = self._functions.lookup(parsed.call)
        arguments = _bind(function, parsed, context, self._secrets)
        if inspect.iscoroutinefunction(function):
            result = await function(**arguments)
        else:
            if self._threads is None:
                self._threads = Threads("python", _THREADS, telemetry.THREADS_LOST)
            result = await self._threads.run(functools.partial(function, **arguments), parsed.call)
            if inspect.isawaitable(result):  # an async callable in disguise: a partial, a decorated function
                result = await result
        return _as_json(result, parsed.call)

    async def aclose(self) -> None:
        if self._threads is not None:
            self._threads.close()
            self._threads = None


def _bind(function: Function, with_: PythonWith, context: StepContext, secrets: Secrets) -> dict[str, Any]:
    parameters = _parameters(function)
    # A copy, by way of JSON where there is more than one level: a function changes nothing but its own arguments.
    nested = any(isinstance(value, dict | list) for value in with_.args.values())
    arguments: dict[str, Any] = json.loads(json.dumps(with_.args)) if nested else dict(with_.args)
    if "context" in parameters.signature.parameters:
        if "context" in arguments:
            raise StepError("InvalidWith", "with.args.context: the engine gives this argument itself", retryable=False)
        arguments["context"] = replace(context, read_secret=secrets.value)
    if not (parameters.needed <= arguments.keys() <= parameters.plain):
        try:
            parameters.signature.bind(**arguments)
        except TypeError as error:
            message = f"with.args does not fit {with_.call}{parameters.signature}: {error}"
            raise StepError("InvalidWith", message, retryable=False) from None
    return arguments


@dataclass(frozen=True, slots=True)
class _Parameters:
    """What a function takes; looked up once, since that takes longer than most calls."""

    signature: inspect.Signature
    plain: frozenset[str]  # those that can be given by their names …
    needed: frozenset[str]  # … and those of all that must be given

    @classmethod
    def of(cls, function: Function) -> _Parameters:
        signature = inspect.signature(function)
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        named = {name: parameter for name, parameter in signature.parameters.items() if parameter.kind in by_name}
        positional = any(p.kind is inspect.Parameter.POSITIONAL_ONLY for p in signature.parameters.values())
        needed = frozenset(name for name, parameter in named.items() if parameter.default is parameter.empty)
        return cls(signature, frozenset(() if positional else named), needed)


def _parameters(function: Function) -> _Parameters:
    try:
        return _known_parameters(function)
    except TypeError:  # a callable object that cannot be hashed
        return _Parameters.of(function)


_known_parameters = functools.lru_cache(maxsize=1024)(_Parameters.of)


def _as_json(result: Any, name: str) -> Any:
    problem = first_problem(result, "result", int64=False)
    if problem is not None:
        raise StepError("InvalidOutput", f"{name} returned what is not JSON: {problem}", retryable=False)
    return json.loads(json.dumps(result))  # a copy of our own: the function may keep and change what it returned
