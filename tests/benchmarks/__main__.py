"""`python -m tests.benchmarks`: measure, print tables, write JSON."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer
from rich.console import Console

from tests.benchmarks import monitoring, pages, processes, report, sizes, waiting
from tests.benchmarks.cluster import ours as cluster_ours
from tests.benchmarks.cluster import run as cluster_run
from tests.benchmarks.cluster import tables as cluster_tables
from tests.benchmarks.rollout import clearing as rollout_clearing
from tests.benchmarks.rollout import counters, our_scores, our_tables, rival_scores, rival_tables, weights
from tests.benchmarks.rollout.argo import compare as argo_compare
from tests.benchmarks.rollout.argo import run as argo_run
from tests.benchmarks.side_by_side import AT_ONCE, CONTENDERS, WORKLOADS, Bench, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
_out, _log = Console(), Console(stderr=True)

Output = Annotated[Path | None, typer.Option("--output", help="Write everything that was measured there, as JSON.")]
Quick = Annotated[bool, typer.Option("--quick", help="One short round: a look, no result.")]


@app.callback()
def _benchmarks() -> None:
    """Measure speed, and what it costs. Needs the dependency group `bench`: see the Makefile."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


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
    _show(result, report.side_by_side, output)


@app.command()
def size(
    deadline: Annotated[float, typer.Option(help="Seconds that one execution may take.")] = 120.0,
    quick: Quick = False,
    output: Output = None,
) -> None:
    """What the number of nodes costs: 10 to 10,000 in one execution, and maps of up to 10,000 items."""
    _show(sizes.run(_tell, 10.0 if quick else deadline), report.sizes, output)


@app.command()
def idle(
    executions: Annotated[int, typer.Option(help="How many wait.")] = 100_000,
    seconds: Annotated[float, typer.Option(help="Watched.")] = 20.0,
    quick: Quick = False,
    output: Output = None,
) -> None:
    """What executions that wait cost meanwhile."""
    measured = waiting.run(_tell, executions // 10 if quick else executions, 5.0 if quick else seconds)
    _show(measured, report.waiting, output)


@app.command()
def queries(
    executions: Annotated[int, typer.Option(help="Finished ones, ten events each; SQLite has a tenth.")] = 1_000_000,
    quick: Quick = False,
    output: Output = None,
) -> None:
    """Claims and the seven monitoring queries beside a full store."""
    _show(monitoring.run(_tell, executions // 20 if quick else executions), report.monitoring, output)


@app.command()
def scaling(
    executions: Annotated[int, typer.Option(help="The heap that is worked off.")] = 10_000,
    quick: Quick = False,
    output: Output = None,
) -> None:
    """Worker processes on one PostgreSQL: 1, 2 and 4."""
    _show(processes.run(_tell, executions // 10 if quick else executions), report.processes, output)


@app.command()
def rollout(
    scale: Annotated[float, typer.Option(min=0.001, help="Of 2,000 runs of a healthy V2, 400 of a harmful one.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    procs: Annotated[int, typer.Option(min=0, help="Worlds at a time; 0: one on each core.")] = 0,
    quick: Quick = False,
    output: Output = None,
) -> None:
    """The rollout controller in simulated worlds: false rollbacks and holds, delays, beside what any rule needs."""
    _show(our_scores.run(_tell, scale / 20 if quick else scale, seed, procs), our_tables.scores, output)


@app.command()
def rollout_weights(
    runs: Annotated[int, typer.Option(min=100, help="Of each harm.")] = weights.RUNS,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    quick: Quick = False,
    output: Output = None,
) -> None:
    """Weights of the coin test's alternatives, and how often its evidence starts afresh: what each choice gives."""
    _show(weights.run(_tell, runs // 10 if quick else runs, seed), weights.as_table, output)


@app.command()
def rollout_counters(
    runs: Annotated[int, typer.Option(min=40, help="Of each claim.")] = counters.RUNS,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    quick: Quick = False,
    output: Output = None,
) -> None:
    """A user's own counters: the variance that decides beside the plain sum of squares."""
    _show(counters.run(_tell, runs // 10 if quick else runs, seed), counters.as_table, output)


@app.command()
def rollout_rivals(
    runs: Annotated[int, typer.Option(min=100, help="With a healthy V2; a fifth of them else.")] = rival_scores.RUNS,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    quick: Quick = False,
    output: Output = None,
) -> None:
    """Argo Rollouts, Flagger and Kayenta, re-stated, beside the controller in the same simulated worlds."""
    _show(rival_scores.run(_tell, runs // 10 if quick else runs, seed), rival_tables.scores, output)


@app.command()
def rollout_argo(output: Output = None) -> None:
    """The re-stated rules of Argo Rollouts beside its real controller, on a few traces. The first time builds it."""
    _show(argo_run.run(_tell), argo_compare.as_table, output)


@app.command()
def clearing(
    seconds: Annotated[float, typer.Option(min=1, help="Of clearing, by three ways at once.")] = 900.0,
    quick: Quick = False,
    output: Output = None,
) -> None:
    """From clearing the flag to the last start on V2, on a real API server: by hand, and by a rollback."""
    _show(rollout_clearing.run(_tell, seconds / 20 if quick else seconds), rollout_clearing.as_table, output)


@app.command()
def cluster(
    size: Annotated[
        list[int] | None, typer.Option(min=0, help=f"Resources, by default {cluster_run.SIZES}; 0: none of them.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of each size below 10,000.")] = 3,
    rate: Annotated[float, typer.Option(min=0.1, help="Resources a second of the paced load.")] = 50.0,
    argo: Annotated[
        bool, typer.Option(help="Measure Argo Workflows, too, unless --quick; the first time builds it.")
    ] = True,
    profile: Annotated[str, typer.Option(help="Write cProfile's record of the operator to this file.")] = "",
    more: Annotated[bool, typer.Option("--more", help="Add to what --output holds of earlier runs.")] = False,
    quick: Quick = False,
    output: Output = None,
) -> None:
    """Executions as resources of a real API server, up to 40,000; and Argo Workflows beside it."""
    loads = cluster_ours.Loads(rate=rate, profile=profile)
    if quick:
        loads = replace(loads, alone=300, paced=200, swept=100, ttl=5)
    sizes_ = [one for one in size or ([100] if quick else cluster_run.SIZES) if one]
    before = json.loads(output.read_text(encoding="utf-8")) if more and output and output.is_file() else None
    measured = cluster_run.run(
        _tell,
        sizes_,
        1 if quick else rounds,
        loads,
        beside=argo and not quick,
        keep=lambda result: _keep(result, output),
        more=before,
    )
    _show(measured, cluster_tables.cluster, output)


@app.command()
def page() -> None:
    """Write the tables of docs/ from the JSON in docs/benchmarks/."""
    pages.write()


def _show(result: dict[str, Any], render: Callable[[dict[str, Any]], str], output: Path | None) -> None:
    _keep(result, output)
    _out.print(render(result), markup=False, highlight=False, soft_wrap=True)


def _tell(line: str) -> None:
    _log.print(line, markup=False, highlight=False, soft_wrap=True)


def _keep(result: dict[str, Any], output: Path | None) -> None:
    if output is not None:
        output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
