"""CEL in workflows: `${ … }` is checked when a workflow is accepted and evaluated when a step is about to run.

The only module that knows the CEL library (cel-expr-python). What an expression may name:

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

Measured (one core, warm): parse, check and program 0.2 ms, once for each text; evaluation 5 µs, plus 0.3 µs for each
value that is converted.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cel_expr_python import cel

from orchestrator import cel_ast
from orchestrator.errors import ExpressionError, Problem
from orchestrator.jsonvalues import child, first_problem
from orchestrator.templates import Template, TemplateSyntaxError, is_template, parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["check", "check_condition", "evaluate", "evaluate_condition", "is_template", "references", "scope"]

MAX_LENGTH = 4096
_MAX_TEXT = 1 << 20  # characters that one template may become

_HINTS = (
    (re.compile(r"undeclared reference to 'nodes"), "write nodes.<id>.output, with the id as a plain name"),
    (re.compile(r"undeclared reference to"), "the names are input, nodes.<id>.output and execution.id"),
)
_REASONS = (
    (re.compile(r"^NOT_FOUND: Key not found in map : (.*)$"), r"there is no key \1"),
    (
        re.compile(r"^INVALID_ARGUMENT: Applying SELECT to non-message type$"),
        "a field is read of a value without fields (null, text, a number, a list): test it first, as in x != null",
    ),
    (
        re.compile(r"^UNKNOWN: (No matching overloads found : .*(?:int64|double).*)$"),
        r"\1; whole numbers and others do not mix: write double(x), int(x) or string(x)",
    ),
    (re.compile(r"^INTERNAL: Iteration budget exceeded.*$"), "it takes more than 10,000 steps; read a smaller list"),
    (re.compile(r"^[A-Z_]+: (.*?)( \[[A-Z_]+\])?$", re.DOTALL), r"\1"),
)


class _CompileError(Exception):
    """Why a text is no expression, in one line."""


@dataclass(frozen=True, slots=True)
class _Program:
    expression: Any  # cel.Expression
    names: tuple[str, ...]  # the variables that it reads
    nodes: frozenset[str]
    returns_bool: bool  # or a type that is known at run time only


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
        return _program(expression, item=False).nodes
    except _CompileError as error:
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
    if not _program(whole.text, item=item).returns_bool:
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
        raise ExpressionError(path, _shown(text), f"it gave {_kind(result)}, not true or false")
    return result


# ---- compiling


@lru_cache(maxsize=4096)
def _program(text: str, *, item: bool) -> _Program:
    if len(text) > MAX_LENGTH:
        raise _CompileError(f"it has {len(text)} characters; {MAX_LENGTH} are allowed")
    if problem := first_problem(text, ""):
        raise _CompileError(problem.message)
    parsed = cel_ast.outline(_compile(_environment(frozenset(), item=item), text, check=False).serialize())
    if parsed.presence_tests:
        name = f"nodes.{min(parsed.presence_tests)}.output"
        raise _CompileError(f"has({name}) says nothing, for a skipped node has the output null: write {name} != null")
    compiled = _compile(_environment(frozenset(parsed.nodes), item=item), text, check=True)
    # The checker lists the variables of `map` and `filter` too; what was declared are the names to look up.
    names = cel_ast.resolved_names(compiled.serialize()) & set(_variables(parsed.nodes, item=item))
    nodes = frozenset(name.split(".")[1] for name in names if name.startswith("nodes."))
    returns_bool = compiled.return_type() in (cel.Type.BOOL, cel.Type.DYN)
    return _Program(compiled, tuple(sorted(names)), nodes, returns_bool)


@lru_cache(maxsize=1024)
def _environment(nodes: frozenset[str], *, item: bool) -> Any:
    return cel.NewEnv(variables=_variables(nodes, item=item))


def _variables(nodes: Collection[str], *, item: bool) -> dict[str, Any]:
    variables = {"input": cel.Type.DYN, "execution.id": cel.Type.STRING}
    variables.update({f"nodes.{node}.output": cel.Type.DYN for node in nodes})
    if item:
        variables["item"] = cel.Type.DYN
    return variables


def _compile(environment: Any, text: str, *, check: bool) -> Any:
    try:
        return environment.compile(text, disable_check=not check)
    except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and pybind's own kinds for bad texts
        raise _CompileError(_first_complaint(str(error))) from None


def _first_complaint(message: str) -> str:
    """`INVALID_ARGUMENT: ERROR: <input>:1:5: Syntax error: …⏎ | foo(…` as `Syntax error: … (at character 5)`."""
    line = re.sub(r" \[[A-Z_]+\]$", "", message.splitlines()[0])
    match = re.search(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)", line)
    if match is None:
        return re.sub(r"^[A-Z_]+: ", "", line)
    complaint = re.sub(r" \(in container ''\)$", "", match[3])
    if len(complaint) > 200:  # noqa: PLR2004 - a syntax error lists every token that could have stood there
        complaint = complaint[:200] + "…"
    hint = next((f"; {hint}" for pattern, hint in _HINTS if pattern.search(complaint)), "")
    where = f" (line {match[1]}, character {match[2]})" if int(match[1]) > 0 else ""
    return f"{complaint}{hint}{where}"


def _check_one(
    text: str, path: str, upstream: Collection[str], known: Collection[str], *, item: bool
) -> Iterator[Problem]:
    try:
        program = _program(text, item=item)
    except _CompileError as error:
        yield Problem(path, f"${{{_shown(text)}}} does not compile: {error}")
        return
    for node in sorted(program.nodes - set(upstream)):
        if node in known:
            yield Problem(path, f"${{{_shown(text)}}} reads {node!r}, which is not upstream: add it to needs")
        else:
            yield Problem(path, f"${{{_shown(text)}}} reads {node!r}, and there is no such node")


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

    def of(self, program: _Program) -> dict[str, Any]:
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
        raise ExpressionError(path, _shown(text.removeprefix("${")), str(error)) from None
    if template.whole is not None:
        return _run(template.whole.text, bindings, path)
    pieces: list[str] = []
    for part in template.parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        value = _run(part.text, bindings, path)
        if value is None:
            raise ExpressionError(path, _shown(part.text), "it gave null, and null cannot be put into text")
        pieces.append(value if isinstance(value, str) else _as_text(value))
        if sum(map(len, pieces)) > _MAX_TEXT:
            raise ExpressionError(path, _shown(part.text), "the text grew beyond 1 MiB")
    return "".join(pieces)


def _run(text: str, bindings: _Bindings, path: str) -> Any:
    try:
        program = _program(text, item="item" in bindings.scope)
        result = program.expression.eval(data=bindings.of(program))
    except (_CompileError, LookupError, ValueError) as error:
        raise ExpressionError(path, _shown(text), str(error)) from None
    except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and pybind's own kinds
        raise ExpressionError(path, _shown(text), _reason(str(error))) from None
    if result.type() == cel.Type.ERROR:
        raise ExpressionError(path, _shown(text), _reason(str(result.plain_value())))
    try:
        value = _to_json(result.plain_value())
    except ValueError as error:
        raise ExpressionError(path, _shown(text), str(error)) from None
    if problem := first_problem(value, ""):
        raise ExpressionError(path, _shown(text), f"its result is unfit: {problem}")
    return value


def _to_json(value: Any) -> Any:
    """A value of the library as JSON; raises ValueError for what JSON has no form for."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        if strange := next((key for key in value if not isinstance(key, str)), None):
            raise ValueError(f"its result has the key {strange!r}, and the keys of a JSON map are text")
        # The library's maps have an order of their own in each process: sorted, a repeated step sends the same bytes.
        return {key: _to_json(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_to_json(member) for member in value]
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.timedelta):
        whole, rest = divmod(value // dt.timedelta(microseconds=1), 1_000_000)
        return f"{whole}s" if rest == 0 else f"{value.total_seconds():.6f}".rstrip("0") + "s"
    raise ValueError(f"its result is {_kind(value)}, which JSON has no form for")


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _reason(message: str) -> str:
    for pattern, replacement in _REASONS:
        if pattern.match(message):
            return pattern.sub(replacement, message)[:500]
    return message[:500]


def _shown(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"  # noqa: PLR2004 - enough to recognise an expression by


def _kind(value: Any) -> str:
    names = {dict: "a map", list: "a list", str: "text", int: "a number", float: "a number", bytearray: "bytes"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")
