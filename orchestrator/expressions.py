"""CEL in workflows: `${ … }` is checked when a workflow is accepted and evaluated when a step is about to run.

What an expression may name:

    input                  the execution's input
    nodes.<id>.output      what an upstream node put out; null if it was skipped
    execution.id           the execution's id, text
    item                   the element of a map node, where `item=True`

Each `nodes.<id>.output` is declared to CEL as one variable of that dotted name. So the checker itself, not a guess at
the text, says which nodes an expression reads; only those values are converted; and `nodes[input.x]` is no expression.

Values are exact both ways: whole numbers are 64-bit ints, others doubles; timestamps become RFC 3339 text and
durations text such as `90s` (to a microsecond). Limits: 4,096 characters an expression (ours), 32 levels of nesting
and 10,000 steps of `map`, `filter`, `all`, `exists` in one evaluation (the library's). Its `map` copies as it grows,
so a list near that limit takes seconds: transform long lists in a service or a python node.

Measured (one core, warm): compiling takes less than a millisecond, once for each text; evaluation 5 µs, plus 0.3 µs
for each value that is converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.cel_programs import CompileError, Program, compile_program
from orchestrator.cel_results import as_text, kind_of, shown
from orchestrator.errors import ExpressionError, Problem
from orchestrator.jsonvalues import child, first_problem
from orchestrator.templates import Template, TemplateSyntaxError, is_template, parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["check", "check_condition", "evaluate", "evaluate_condition", "is_template", "references", "scope"]

_MAX_TEXT = 1 << 20  # characters that one template may become


def scope(execution_id: str, input_: Any, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """What expressions of one execution may read. `outputs` maps each finished node to its output (skipped: None)."""
    return {
        "input": input_,
        "nodes": {node_id: {"output": output} for node_id, output in outputs.items()},
        "execution": {"id": execution_id},
    }


def references(expression: str) -> frozenset[str]:
    """The ids of the nodes that a CEL text (without `${ }`) reads; raises ExpressionError if it does not compile."""
    try:
        return compile_program(expression, item=False).nodes
    except CompileError as error:
        raise ExpressionError("expression", expression, str(error)) from None


def check(
    value: Any, path: str, *, upstream: Collection[str], known: Collection[str] = (), item: bool = False
) -> list[Problem]:
    """Everything that is wrong with the expressions within a JSON value.

    `upstream` are the nodes that may be read here; `known` all of the workflow's, for a better message.
    """
    problems: list[Problem] = []
    for place, text in _strings(value, path, problems):
        try:
            template = parse(text)
        except TemplateSyntaxError as error:
            problems.append(Problem(place, str(error)))
            continue
        for expression in template.expressions:
            problems.extend(_check_one(expression.text, place, upstream, known, item=item))
    return problems


def check_condition(
    text: str, path: str, *, upstream: Collection[str], known: Collection[str] = (), item: bool = False
) -> list[Problem]:
    """As `check`, for a `when`: one whole `${ … }` that gives true or false."""
    problems = check(text, path, upstream=upstream, known=known, item=item)
    if problems:
        return problems
    whole = parse(text).whole
    if whole is None:
        return [Problem(path, "must be exactly one ${ … } that gives true or false")]
    if not compile_program(whole.text, item=item).returns_bool:
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
    text: str, path: str, upstream: Collection[str], known: Collection[str], *, item: bool
) -> Iterator[Problem]:
    try:
        program = compile_program(text, item=item)
    except CompileError as error:
        yield Problem(path, f"${{{shown(text)}}} does not compile: {error}")
        return
    for node in sorted(program.nodes - set(upstream)):
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

    def of(self, program: Program) -> dict[str, Any]:
        """The variables that a program reads; raises LookupError or ValueError with the reason."""
        return {name: self._value(name) for name in program.names}

    def _value(self, name: str) -> Any:
        if name not in self.found:
            value: Any = self.scope
            for part in name.split("."):
                if part not in value:
                    raise LookupError(f"{name} is not known at this point of the execution")
                value = value[part]
            if problem := first_problem(value, name):
                raise ValueError(str(problem))
            self.found[name] = value
        return self.found[name]


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
        program = compile_program(text, item="item" in bindings.scope)
        value = program.run(bindings.of(program))
    except (LookupError, ValueError) as error:
        raise ExpressionError(path, shown(text), str(error)) from None
    if problem := first_problem(value, ""):
        raise ExpressionError(path, shown(text), f"its result is unfit: {problem}")
    return value
