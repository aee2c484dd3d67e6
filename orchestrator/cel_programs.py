"""Compiled CEL: the only module that touches the library, cel-expr-python.

A text is compiled once for the process, whatever workflow it stands in: which nodes it names is read from its parsed
tree, exactly those are declared, and then the library's checker says what the text means.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cel_expr_python import cel

from orchestrator import cel_ast
from orchestrator.cel_results import complaint_of, reason_of, to_json
from orchestrator.jsonvalues import first_problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_LENGTH = 4096


class CompileError(ValueError):
    """Why a text is no expression, in one line."""


@dataclass(frozen=True, slots=True)
class Program:
    """A checked expression, ready to run."""

    expression: Any  # cel.Expression
    names: tuple[str, ...]  # the variables that it reads, such as `input` and `nodes.reserve.output`
    nodes: frozenset[str]  # the ids of the nodes among them
    returns_bool: bool  # or a type that is known at run time only
    variable: str | None = None  # of an expression that is nothing but a variable and fields of it: which one …
    fields: tuple[str, ...] = ()  # … and which fields

    def run(self, values: Mapping[str, Any]) -> Any:
        """The result as JSON, `values` being what `names` stand for; raises ValueError with the reason."""
        try:
            result = self.expression.eval(data=values)
        except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and pybind's own kinds
            raise ValueError(reason_of(str(error))) from None
        if result.type() == cel.Type.ERROR:
            raise ValueError(reason_of(str(result.plain_value())))
        return to_json(result.plain_value())


@lru_cache(maxsize=4096)
def compile_program(text: str, extra: frozenset[str] = frozenset()) -> Program:
    """The program of a CEL text (without `${ }`); `extra` are names to declare (item, result). Raises CompileError."""
    if len(text) > MAX_LENGTH:
        raise CompileError(f"it has {len(text)} characters; {MAX_LENGTH} are allowed")
    if problem := first_problem(text, ""):
        raise CompileError(problem.message)
    parsed = cel_ast.outline(_compile({}, text, check=False).serialize())
    if parsed.presence_tests:
        name = f"nodes.{min(parsed.presence_tests)}.output"
        raise CompileError(f"has({name}) says nothing, for a skipped node has the output null: write {name} != null")
    variables = _variables(parsed.nodes, extra)
    compiled = _compile(variables, text, check=True)
    # The checker lists the variables of `map` and `filter` too; what was declared are the names to look up.
    names = cel_ast.resolved_names(compiled.serialize()) & set(variables)
    nodes = frozenset(name.split(".")[1] for name in names if name.startswith("nodes."))
    returns_bool = compiled.return_type() in (cel.Type.BOOL, cel.Type.DYN)
    variable, fields = _plain(parsed.path, names)
    return Program(compiled, tuple(sorted(names)), nodes, returns_bool, variable, fields)


def _plain(path: tuple[str, ...], names: Collection[str]) -> tuple[str | None, tuple[str, ...]]:
    """`nodes.a.output.x.y` as its variable and its fields; (None, ()) for any other expression."""
    for name in names:
        parts = tuple(name.split("."))
        if len(names) == 1 and path[: len(parts)] == parts:
            return name, path[len(parts) :]
    return None, ()


def _variables(nodes: Collection[str], extra: Collection[str]) -> dict[str, Any]:
    variables = {"input": cel.Type.DYN, "execution.id": cel.Type.STRING}
    variables.update({f"nodes.{node}.output": cel.Type.DYN for node in nodes})
    variables.update(dict.fromkeys(extra, cel.Type.DYN))
    return variables


def _compile(variables: Mapping[str, Any], text: str, *, check: bool) -> Any:
    try:
        return cel.NewEnv(variables=variables).compile(text, disable_check=not check)
    except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and pybind's own kinds for bad texts
        raise CompileError(complaint_of(str(error))) from None
