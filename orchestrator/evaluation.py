"""How a JSON value with templates in it is evaluated: taken apart once, then run for every execution.

A prepared value is a function from the bindings of one evaluation to a new JSON value. What it costs is what changes:
constants are copied, `a.b.c` is read directly, and only what is more than that goes through the CEL library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestrator.cel_programs import Program, compile_program
from orchestrator.cel_results import as_text, shown, to_json
from orchestrator.errors import ExpressionError
from orchestrator.jsonvalues import child, first_problem
from orchestrator.templates import TemplateSyntaxError, parse

_MAX_TEXT: Final = 1 << 20  # characters that one template may become
_MOST_PREPARED: Final = 50_000
_EXTRAS: Final[Mapping[tuple[bool, bool], frozenset[str]]] = {
    (False, False): frozenset(),
    (True, False): frozenset({"item"}),
    (False, True): frozenset({"result"}),
    (True, True): frozenset({"item", "result"}),
}


class Bindings:
    """The variables of one evaluation, looked up and checked once each, and only if an expression reads them."""

    __slots__ = ("_checked", "_scope", "extra")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._scope = scope
        self._checked: dict[str, Any] = {}
        #: The names that this scope has beside those that every scope has.
        self.extra = _EXTRAS["item" in scope, "result" in scope]

    def of(self, program: Program) -> dict[str, Any]:
        """The variables that a program reads; raises LookupError or ValueError with the reason."""
        return {name: self._value(name) for name in program.names}

    def look_up(self, name: str) -> Any:
        """A variable as it is; raises LookupError."""
        scope = self._scope
        if name.startswith("nodes."):  # nodes.<id>.output
            outputs, node_id = scope["nodes"], name[6:-7]
            if node_id in outputs:
                return outputs[node_id]
        elif name == "execution.id":
            return scope["execution"]["id"]
        elif name in scope:
            return scope[name]
        raise LookupError(f"{name} is not known at this point of the execution")

    def _value(self, name: str) -> Any:
        if name not in self._checked:
            value = self.look_up(name)
            if problem := first_problem(value, name):
                raise ValueError(str(problem))
            self._checked[name] = value
        return self._checked[name]


Evaluator = Callable[[Bindings], Any]

# By the value's identity: workflows keep their templates for as long as they live. The value itself stands in the
# entry, so that no other can take its identity meanwhile.
_prepared: dict[tuple[int, str, frozenset[str]], tuple[Any, Evaluator]] = {}


def prepared(value: Any, path: str, extra: frozenset[str]) -> Evaluator:
    """The function that evaluates a JSON value; it raises ExpressionError with the place below `path`."""
    if not isinstance(value, dict | list):
        return _prepare(value, path, extra)
    key = (id(value), path, extra)
    entry = _prepared.get(key)
    if entry is None or entry[0] is not value:
        if len(_prepared) >= _MOST_PREPARED:
            _prepared.clear()
        entry = _prepared[key] = (value, _prepare(value, path, extra))
    return entry[1]


def _prepare(value: Any, path: str, extra: frozenset[str]) -> Evaluator:
    if isinstance(value, str):
        return _text(value, path, extra) if "${" in value else lambda _: value
    if isinstance(value, Mapping):
        return _map({key: _prepare(member, child(path, key), extra) for key, member in value.items()})
    if isinstance(value, list | tuple):
        members = [_prepare(member, child(path, index), extra) for index, member in enumerate(value)]
        return lambda bindings: [member(bindings) for member in members]
    return lambda _: value


def _map(members: Mapping[str, Evaluator]) -> Evaluator:
    pairs = tuple(members.items())
    return lambda bindings: {key: member(bindings) for key, member in pairs}


def _text(text: str, path: str, extra: frozenset[str]) -> Evaluator:
    try:
        template = parse(text)
    except TemplateSyntaxError as error:
        return _failing(ExpressionError(path, shown(text.removeprefix("${")), str(error)))
    if template.whole is not None:
        return _expression(template.whole.text, path, extra)
    parts = [
        part if isinstance(part, str) else (part.text, _expression(part.text, path, extra)) for part in template.parts
    ]

    def run(bindings: Bindings) -> str:
        pieces: list[str] = []
        size = 0
        for part in parts:
            if isinstance(part, str):
                piece, source = part, ""
            else:
                source, value = part[0], part[1](bindings)
                if value is None:
                    raise ExpressionError(path, shown(source), "it gave null, and null cannot be put into text")
                piece = value if isinstance(value, str) else as_text(value)
            pieces.append(piece)
            size += len(piece)
            if size > _MAX_TEXT:
                raise ExpressionError(path, shown(source), "the text grew beyond 1 MiB")
        return "".join(pieces)

    return run


def _expression(text: str, path: str, extra: frozenset[str]) -> Evaluator:
    try:
        program = compile_program(text, extra)
    except ValueError as error:  # it was accepted by a version that knew it
        return _failing(ExpressionError(path, shown(text), str(error)))

    def run(bindings: Bindings) -> Any:
        try:
            value = program.run(bindings.of(program))
        except (LookupError, ValueError) as error:
            raise ExpressionError(path, shown(text), str(error)) from None
        if problem := first_problem(value, ""):
            raise ExpressionError(path, shown(text), f"its result is unfit: {problem}")
        return value

    return run if program.variable is None else _selection(program.variable, program.fields, run)


def _selection(variable: str, fields: tuple[str, ...], by_cel: Evaluator) -> Evaluator:
    """Read fields of a variable; where one is not there, or its value is unfit, CEL has the words for it."""

    def run(bindings: Bindings) -> Any:
        try:
            value = bindings.look_up(variable)
        except LookupError:
            return by_cel(bindings)
        for name in fields:
            if not isinstance(value, dict) or name not in value:
                return by_cel(bindings)
            value = value[name]
        return to_json(value) if first_problem(value, "") is None else by_cel(bindings)

    return run


def _failing(error: ExpressionError) -> Evaluator:
    def run(_: Bindings) -> Any:
        raise error

    return run
