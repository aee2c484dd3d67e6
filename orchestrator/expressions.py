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
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.cel_programs import CompileError, compile_program
from orchestrator.cel_results import kind_of, shown
from orchestrator.errors import ExpressionError, Problem
from orchestrator.evaluation import Bindings, prepared
from orchestrator.jsonvalues import child
from orchestrator.templates import TemplateSyntaxError, is_template, parse

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

__all__ = ["check", "check_condition", "evaluate", "evaluate_condition", "is_template", "references", "scope"]


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

    `scope` is what `scope()` returns (with `item` or `result` where there is one). Raises ExpressionError with the
    place. A map or list is taken apart once: `value` must not be changed afterwards.
    """
    bindings = Bindings(scope)
    return prepared(value, path, bindings.extra)(bindings)


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
