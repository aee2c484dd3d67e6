"""`orchestrator lint FILE…`: every problem of workflow files, and what experience advises."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.advice import Advice, advise
from orchestrator.authoring import Document, compile_workflow, read_document
from orchestrator.cli.options import Output, OutputOption, examples, print_json
from orchestrator.errors import InvalidInput, Problem
from orchestrator.model import Workflow
from orchestrator.wording import count

app = typer.Typer(rich_markup_mode=None)

_STDIN = "-"
_EXIT_WARNINGS, _EXIT_ERRORS = 1, 2


@dataclass(slots=True)
class _Checked:
    """One file, and what was found in it."""

    source: str
    document: Document | None = None
    workflow: Workflow | None = None
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Advice] = field(default_factory=list)


@app.command(
    epilog=examples(
        "orchestrator lint workflow.yaml",
        "orchestrator lint --strict deploy/samples/*.yaml",
        "cat workflow.yaml | orchestrator lint - --output json",
    )
)
def lint(
    files: Annotated[list[str], typer.Argument(help="Workflow resources, YAML or JSON; - is standard input.")],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count: exit code 1.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check workflows without running them. Files that are named together are checked together.

    Exit codes: 0 all of them would be accepted, 1 with --strict and warnings, 2 errors.
    """
    checked = [_compiled(source) for source in dict.fromkeys(files)]
    known = {one.workflow.id: one.workflow for one in checked if one.workflow is not None}
    for one in checked:
        if one.workflow is not None and one.document is not None:
            one.warnings = advise(one.workflow, one.document.spec, known)
    errors, warnings = sum(len(one.errors) for one in checked), sum(len(one.warnings) for one in checked)
    if output is Output.JSON:
        print_json([_described(one) for one in checked])
    else:
        for one in checked:
            _print(one)
        found = f"{count(errors, 'error')}, {count(warnings, 'warning')}"
        typer.echo(f"{count(len(checked), 'file')}: {found}")
    if errors:
        sys.exit(_EXIT_ERRORS)
    if warnings and strict:
        sys.exit(_EXIT_WARNINGS)


def _compiled(source: str) -> _Checked:
    one = _Checked("standard input" if source == _STDIN else source)
    try:
        # With a line break more any text is a document, and none a path.
        one.document = read_document(sys.stdin.read() + "\n" if source == _STDIN else Path(source))
        namespace, name, spec = one.document
        one.workflow = compile_workflow(spec, namespace=namespace, name=name)
    except InvalidInput as error:
        one.errors = list(error.problems)
    return one


def _print(one: _Checked) -> None:
    for problem in one.errors:
        typer.echo(f"{one.source}: error: {_without(one.source, problem)}")
    for advice in one.warnings:
        typer.echo(f"{one.source}: warning: {advice.problem} [{advice.rule}]")


def _without(source: str, problem: Problem) -> str:
    """The problem; its file is named before it already."""
    return str(problem).removeprefix(f"{source}: ").removeprefix(f"{source}:")


def _described(one: _Checked) -> dict[str, Any]:
    errors = [{"severity": "error", "path": p.path, "message": p.message} for p in one.errors]
    warnings = [
        {"severity": "warning", "rule": a.rule, "path": a.problem.path, "message": a.problem.message}
        for a in one.warnings
    ]
    workflow = one.workflow.id if one.workflow else None
    revision = one.workflow.revision if one.workflow else None
    return {"file": one.source, "workflow": workflow, "revision": revision, "problems": errors + warnings}
