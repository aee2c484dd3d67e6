"""`python -m tests.benchmarks`: measure, print tables, write JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tests.benchmarks import report
from tests.benchmarks.side_by_side import AT_ONCE, CONTENDERS, WORKLOADS, Bench, Plan

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
_out, _log = Console(), Console(stderr=True)

Output = Annotated[Path | None, typer.Option("--output", help="Write everything that was measured there, as JSON.")]
Quick = Annotated[bool, typer.Option("--quick", help="One short round: a look, no result.")]


@app.callback()
def _benchmarks() -> None:
    """Measure speed, and what it costs. Needs the dependency group `bench`: see the Makefile."""


@app.command()
def side_by_side(  # noqa: PLR0917 - typer's options are parameters
    contender: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CONTENDERS)}. All by default.")] = None,
    workload: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(WORKLOADS)}.")] = None,
    at_once: Annotated[list[int] | None, typer.Option(help=f"Executions at once, by default {AT_ONCE}.")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = Plan.rounds,
    seconds: Annotated[float, typer.Option(min=0.5, help="Measured, after the warm-up.")] = Plan.measured,
    limit: Annotated[bool, typer.Option(help="Measure the limit by pgbench, too.")] = True,
    profile: Annotated[str, typer.Option(help="Write where the time of a load went to this file.")] = "",
    quick: Quick = False,
    output: Output = None,
) -> None:
    """This engine beside DBOS Transact, Temporal and pgbench, on one PostgreSQL."""
    plan = Plan(
        contenders=contender or CONTENDERS,
        workloads=workload or WORKLOADS,
        at_once=at_once or AT_ONCE,
        rounds=rounds,
        measured=seconds,
        profile=profile,
        limit_seconds=Plan.limit_seconds if limit else 0,
    )
    if quick:
        plan = replace(plan, rounds=1, warmup=1.0, measured=2.0, drain=0.5, limit_seconds=2.0 if limit else 0)
    unknown = {*plan.contenders} - {*CONTENDERS} | {*plan.workloads} - {*WORKLOADS}
    if unknown:
        raise typer.BadParameter(f"unknown: {', '.join(sorted(unknown))}; see --help")
    result = Bench(plan, _tell).run()
    _keep(result, output)
    _out.print(report.side_by_side(result), markup=False, highlight=False, soft_wrap=True)


def _tell(line: str) -> None:
    _log.print(line, markup=False, highlight=False, soft_wrap=True)


def _keep(result: dict[str, Any], output: Path | None) -> None:
    if output is not None:
        output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
