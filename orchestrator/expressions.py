"""CEL in workflows: `${ … }` is checked when a workflow is accepted and evaluated when a step is about to run.

What an expression may name:

    input                  the execution's input
    nodes.<id>.output      what an upstream node put out; null if it was skipped
    execution.id           the execution's id, text
    item                   the element of a map, in what is done for each
    result                 what the step itself gave, in its `output` and in its compensation

Each `nodes.<id>.output` is declared to CEL as one variable of that dotted name. So the checker itself, not a guess at
the text, says which nodes an expression reads; only those values are converted; and `nodes[input.x]` is no expression.

Values are exact both ways: whole numbers are 64-bit ints, others doubles; timestamps become RFC 3339 text and
durations text such as `90s` (to a microsecond). Limits: 4,096 characters an expression (ours), 32 levels of nesting
and 10,000 steps of `map`, `filter`, `all`, `exists` in one evaluation (the library's). Its `map` copies as it grows,
so a list near that limit takes seconds: transform long lists in a service or a python node.

Measured (one core, warm): compiling takes less than a millisecond, once for each text; evaluation 5 µs, plus 0.3 µs
for each value that is converted. A plain `a.b.c` is read without CEL, and gives what CEL would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.cel_programs import CompileError, Program, compile_program
from orchestrator.cel_results import as_text, kind_of, shown, to_json
from orchestrator.errors import ExpressionError, Problem
from orchestrator.jsonvalues import child, first_problem
from orchestrator.templates import Template, TemplateSyntaxError, is_template, parse

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

__all__ = ["check", "check_condition", "evaluate", "evaluate_condition", "is_template", "references", "scope"]

_MAX_TEXT = 1 << 20  # characters that one template may become
_EXTRAS: Mapping[tuple[bool, bool], frozenset[str]] = {
    (False, False): frozenset(),
    (True, False): frozenset({"item"}),
    (False, True): frozenset({"result"}),
    (True, True): frozenset({"item", "result"}),
}


class Outputs(Protocol):
    """The outputs of an execution's nodes, by id: a mapping, or what looks them up only when they are read."""

    def __contains__(self, node_id: object, /) -> bool: ...

    def __getitem__(self, node_id: str, /) -> Any: ...


def scope(execution_id: str, input_: Any, outputs: Outputs) -> dict[str, Any]:
    """What expressions of one execution may read: `outputs` has each finished node's output (skipped: None)."""
    return {"input": input_, "nodes": outputs, "execution": {"id": execution_id}}


def references(expression: str) -> frozenset[str]:
    """The ids of the nodes that a CEL text (without `${ }`) reads; raises ExpressionError if it does not compile."""
    try:
        return compile_program(expression).nodes
    except CompileError as error:
        raise ExpressionError("expression", expression, str(error)) from None


def check(
    value: Any,
    path: str,
    *,
    upstream: Container[str],
    known: Container[str] = (),
    extra: frozenset[str] = frozenset(),
) -> list[Problem]:
    """Everything that is wrong with the expressions within a JSON value.

    `upstream` are the nodes that may be read here; `known` all of the workflow's, for a better message; `extra` the
    names that this place has beside input, nodes and execution.
    """
    problems: list[Problem] = []
    for place, text in _strings(value, path, problems):
        try:
            template = parse(text)
        except TemplateSyntaxError as error:
            problems.append(Problem(place, str(error)))
            continue
        for expression in template.expressions:
            problems.extend(_check_one(expression.text, place, upstream, known, extra))
    return problems


def check_condition(
    text: str,
    path: str,
    *,
    upstream: Container[str],
    known: Container[str] = (),
    extra: frozenset[str] = frozenset(),
) -> list[Problem]:
    """As `check`, for a `when`: one whole `${ … }` that gives true or false."""
    problems = check(text, path, upstream=upstream, known=known, extra=extra)
    if problems:
        return problems
    whole = parse(text).whole
    if whole is None:
        return [Problem(path, "must be exactly one ${ … } that gives true or false")]
    if not compile_program(whole.text, extra).returns_bool:
        return [Problem(path, f"${{{whole.text}}} gives no true or false; compare it with something")]
    return []


def evaluate(value: Any, scope: Mapping[str, Any], path: str) -> Any:
    """A JSON value with every template in it replaced by what it gives; a new value, nothing is shared with `value`.

    `scope` is what `scope()` returns (with `item` where there is one). Raises ExpressionError with the place.
    """
    return _evaluate(value, _Bindings(scope), path)


def evaluate_condition(text: str, scope: Mapping[str, Any], path: str) -> bool:
    """What a `when` gives; raises ExpressionError, also if that is neither true nor false."""
    result = evaluate(text, scope, path)
    if not isinstance(result, bool):
        raise ExpressionError(path, shown(text), f"it gave {kind_of(result)}, not true or false")
    return result


def _check_one(
    text: str, path: str, upstream: Container[str], known: Container[str], extra: frozenset[str]
) -> Iterator[Problem]:
    try:
        program = compile_program(text, extra)
    except CompileError as error:
        yield Problem(path, f"${{{shown(text)}}} does not compile: {error}")
        return
    for node in sorted(node for node in program.nodes if node not in upstream):
        if node in known:
            yield Problem(path, f"${{{shown(text)}}} reads {node!r}, which is not upstream: add it to needs")
        else:
            yield Problem(path, f"${{{shown(text)}}} reads {node!r}, and there is no such node")


def _strings(value: Any, path: str, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """Every string within a value that may be a template, with its place; keys are never templates."""
    if isinstance(value, str):
        if "${" in value:
            yield path, value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            if is_template(key):
                problems.append(Problem(child(path, key), "a key is taken as it stands: expressions are for values"))
            yield from _strings(member, child(path, key), problems)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _strings(member, child(path, index), problems)


# ---- evaluating


@dataclass(slots=True)
class _Bindings:
    """The variables of one evaluation, looked up and checked once each, and only if an expression reads them."""

    scope: Mapping[str, Any]
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def extra(self) -> frozenset[str]:
        """The names that this scope has beside those that every scope has."""
        return _EXTRAS[("item" in self.scope, "result" in self.scope)]

    def of(self, program: Program) -> dict[str, Any]:
        """The variables that a program reads; raises LookupError or ValueError with the reason."""
        return {name: self._value(name) for name in program.names}

    def select(self, variable: str, fields: tuple[str, ...]) -> tuple[bool, Any]:
        """A field of a variable, read without CEL; (False, …) where it is not there, and CEL has the words for it."""
        value = self._look_up(variable)
        for name in fields:
            if not isinstance(value, dict) or name not in value:
                return False, None
            value = value[name]
        return True, value

    def _value(self, name: str) -> Any:
        if name not in self.found:
            value = self._look_up(name)
            if problem := first_problem(value, name):
                raise ValueError(str(problem))
            self.found[name] = value
        return self.found[name]

    def _look_up(self, name: str) -> Any:
        head, _, rest = name.partition(".")
        if head == "nodes":  # nodes.<id>.output
            outputs, node_id = self.scope["nodes"], rest.partition(".")[0]
            if node_id in outputs:
                return outputs[node_id]
        elif name == "execution.id":
            return self.scope["execution"]["id"]
        elif name in self.scope:
            return self.scope[name]
        raise LookupError(f"{name} is not known at this point of the execution")


def _evaluate(value: Any, bindings: _Bindings, path: str) -> Any:
    if isinstance(value, str):
        return _evaluate_text(value, bindings, path) if "${" in value else value
    if isinstance(value, list | tuple):
        return [_evaluate(member, bindings, child(path, index)) for index, member in enumerate(value)]
    if isinstance(value, Mapping):
        return {key: _evaluate(member, bindings, child(path, key)) for key, member in value.items()}
    return value


def _evaluate_text(text: str, bindings: _Bindings, path: str) -> Any:
    try:
        template: Template = parse(text)
    except TemplateSyntaxError as error:
        raise ExpressionError(path, shown(text.removeprefix("${")), str(error)) from None
    if template.whole is not None:
        return _run(template.whole.text, bindings, path)
    pieces: list[str] = []
    for part in template.parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        value = _run(part.text, bindings, path)
        if value is None:
            raise ExpressionError(path, shown(part.text), "it gave null, and null cannot be put into text")
        pieces.append(value if isinstance(value, str) else as_text(value))
        if sum(map(len, pieces)) > _MAX_TEXT:
            raise ExpressionError(path, shown(part.text), "the text grew beyond 1 MiB")
    return "".join(pieces)


def _run(text: str, bindings: _Bindings, path: str) -> Any:
    try:
        program = compile_program(text, bindings.extra)
        if program.variable is not None:
            found, value = bindings.select(program.variable, program.fields)
            if found and first_problem(value, "") is None:
                return to_json(value)
        value = program.run(bindings.of(program))
    except (LookupError, ValueError) as error:
        raise ExpressionError(path, shown(text), str(error)) from None
    if problem := first_problem(value, ""):
        raise ExpressionError(path, shown(text), f"its result is unfit: {problem}")
    return value
