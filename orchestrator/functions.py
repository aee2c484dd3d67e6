"""The functions that `python` nodes may call: only those that a worker's modules registered, by name.

    from orchestrator.functions import function

    @function
    async def total(items: list[dict], context: StepContext) -> dict: ...

`with: {call: "shop.prices:total", args: {items: "${input.items}"}}` calls it, on a worker that loaded `shop.prices`.
A function may be async, or plain and then runs in a thread. It gets `args` by keyword and, if it declares a parameter
`context`, the StepContext: its `idempotency_key` is the same for every attempt. What it returns must be JSON.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from orchestrator.errors import InvalidInput, Problem, StepError

Function = Callable[..., Any]
FunctionT = TypeVar("FunctionT", bound=Function)


class NonRetryable(StepError):
    """Raise it in a function whose failure no retry would mend."""

    def __init__(self, message: str, *, kind: str = "NonRetryable") -> None:
        super().__init__(kind, message, retryable=False)


class Functions:
    """Names and functions. The process has one (`REGISTRY`); tests may have their own."""

    def __init__(self) -> None:
        self._by_name: dict[str, Function] = {}

    def register(self, function: Function, name: str | None = None) -> str:
        """Make a function callable, by default as `package.module:function`; returns the name.

        Raises ValueError for a name that is taken, or a builtin that does not tell its parameters.
        """
        inspect.signature(function)
        name = name or f"{function.__module__}:{function.__qualname__}"
        known = self._by_name.get(name)
        if known is not None and _origin(known) != _origin(function):
            raise ValueError(f"two functions want the name {name!r}: {_origin(known)} and {_origin(function)}")
        self._by_name[name] = function
        return name

    def lookup(self, name: str) -> Function:
        """The function of that name; raises StepError `FunctionNotRegistered`, for another worker may have it."""
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(sorted(self._by_name)) or "none"
            raise StepError(
                "FunctionNotRegistered",
                f"no function {name!r} is registered with this worker (registered: {known}); decorate it with "
                "@orchestrator.functions.function and start the worker with its module",
                retryable=True,
            ) from None

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._by_name))


REGISTRY = Functions()


@overload
def function(target: FunctionT, /) -> FunctionT: ...
@overload
def function(*, name: str) -> Callable[[FunctionT], FunctionT]: ...
def function(target: Function | None = None, /, *, name: str | None = None) -> Any:
    """Register a function for `python` nodes: `@function`, or `@function(name="charge")`."""
    if target is not None:
        REGISTRY.register(target)
        return target

    def decorate(decorated: Function) -> Function:
        REGISTRY.register(decorated, name)
        return decorated

    return decorate


def lookup(name: str) -> Function:
    """The function of that name in the process's registry; see `Functions.lookup`."""
    return REGISTRY.lookup(name)


def load(modules: Iterable[str]) -> None:
    """Import modules, so that their `@function`s register. Raises InvalidInput naming each that cannot be imported."""
    problems = []
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - a user's module may raise anything while it is imported
            problems.append(Problem(module, f"cannot be imported: {type(error).__name__}: {error}"))
    if problems:
        raise InvalidInput(problems)


def _origin(target: Function) -> str:
    return f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', repr(target))}"
