"""`orchestrator rollout`: how the rollouts stand, why, and what a person may say to them.

Verbs are annotations, so `kubectl annotate` does the same; the spec belongs to whoever wrote it, often Git.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.cli.options import Output, OutputOption, print_json
from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.cli import rollout_simulate
from orchestrator_operator.rollout.situation import ABORT, APPROVE
from orchestrator_operator.settings import variable
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout_status import Phase, RolloutStatus, read_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes

_WIDTH = 160  # of a table that no terminal bounds
_OVER = (Phase.ROLLING_BACK, Phase.ROLLED_BACK)

app = typer.Typer(
    help="Watch and steer EngineRollouts (KUBECONFIG says in which cluster).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.command(epilog=rollout_simulate.EPILOG)(rollout_simulate.simulate)

Namespace = Annotated[
    str, typer.Option("--namespace", "-n", envvar=variable("namespace"), help="The rollout's namespace.")
]
Name = Annotated[str, typer.Argument(help="The EngineRollout's name.")]
R = TypeVar("R")


@app.command("list")
def list_(namespace: Namespace = "default", output: OutputOption = Output.TABLE) -> None:
    """Every rollout: phase, stage, percent, verdict, evidence.

    Example: orchestrator rollout list --namespace shop
    """
    found = _ask(lambda kubernetes: kubernetes.list(ROLLOUTS, namespace))
    if output is Output.JSON:
        print_json([{"name": body["metadata"]["name"], "status": body.get("status") or {}} for body in found])
        return
    columns = ("NAME", "PHASE", "REASON", "STAGE", "PERCENT", "VERDICT", "EVIDENCE")
    rows = []
    for body in found:
        status = read_status(body.get("status"))
        shown = (status.phase.value, status.reason, status.stage, status.percent, status.verdict, status.evidence)
        rows.append((body["metadata"]["name"], *shown))
    _print_table(columns, rows)


@app.command()
def status(name: Name, namespace: Namespace = "default", output: OutputOption = Output.TABLE) -> None:
    """One rollout: where it stands, why, and each criterion with its counts and evidence.

    Example: orchestrator rollout status v2 --output json
    """
    body = _ask(lambda kubernetes: kubernetes.get(ROLLOUTS, namespace, name))
    if output is Output.JSON:
        print_json(body.get("status") or {})
        return
    found = read_status(body.get("status"))
    typer.echo(f"{name}: {found.phase}, {found.reason or 'no reason yet'}")
    if found.message:
        typer.echo(found.message)
    typer.echo(f"stage {found.stage or '-'}, {found.percent} % of new executions on V2; attempt {found.attempt}")
    if found.next is not None:
        typer.echo(f"next planned move: {found.next.isoformat(timespec='seconds')}")
    if found.failed is not None:
        typer.echo(f"rolled back by {found.failed.criterion}: {found.failed.counts}; {found.failed.evidence}")
    columns = ("CRITERION", "VERDICT", "V1 BAD/ALL", "V2 BAD/ALL", "WHY")
    rows = [(c.name, c.verdict.value, _share(c.k1, c.n1), _share(c.k2, c.n2), c.sentence) for c in found.criteria]
    _print_table(columns, rows)


@app.command()
def history(name: Name, namespace: Namespace = "default", output: OutputOption = Output.TABLE) -> None:
    """The last decisions of a rollout, oldest first, with who made them.

    Example: orchestrator rollout history v2
    """
    found = read_status(_ask(lambda kubernetes: kubernetes.get(ROLLOUTS, namespace, name)).get("status"))
    if output is Output.JSON:
        print_json([decision.model_dump(mode="json", by_alias=True) for decision in found.decisions])
        return
    for d in found.decisions:
        typer.echo(f"{d.at.isoformat(timespec='seconds')} {d.action} ({d.reason}, {d.actor}): {d.message}")


@app.command()
def approve(name: Name, namespace: Namespace = "default") -> None:
    """Let the stage that awaits approval go on. Exit code 1 when nothing awaits it.

    Example: orchestrator rollout approve v2
    """

    def annotation(found: RolloutStatus) -> dict[str, str]:
        if found.phase is not Phase.AWAITING_APPROVAL:
            raise InvalidInput([Problem(name, f"it is {found.phase}, and awaits no approval")])
        return {APPROVE: found.stage}

    _annotate(name, namespace, annotation)
    typer.echo(f"{name}: approved")


@app.command()
def abort(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; it goes into the decision log.")] = "aborted by a person",
    namespace: Namespace = "default",
) -> None:
    """Roll back now: the flag is cleared, V2's executions end. It beats every other state.

    Example: orchestrator rollout abort v2 --reason "duplicate mails"
    """

    def annotation(found: RolloutStatus) -> dict[str, str]:
        return {} if found.phase in _OVER else {ABORT: reason}

    changed = _annotate(name, namespace, annotation)
    typer.echo(f"{name}: {'rolling back' if changed else 'is rolled back already'}")


def _annotate(name: str, namespace: str, annotation: Callable[[RolloutStatus], Mapping[str, str]]) -> bool:
    async def act(kubernetes: Kubernetes) -> bool:
        found = read_status((await kubernetes.get(ROLLOUTS, namespace, name)).get("status"))
        wanted = annotation(found)
        if wanted:
            await kubernetes.patch(ROLLOUTS, namespace, name, {"metadata": {"annotations": dict(wanted)}})
        return bool(wanted)

    return _ask(act)


def _ask(question: Callable[[Kubernetes], Awaitable[R]]) -> R:
    # Imported here: the client takes a second to import, which `--help` should not pay.
    from orchestrator_operator.adapters.kubernetes import Kubernetes  # noqa: PLC0415 - see above

    async def asked() -> R:
        kubernetes = await Kubernetes.connect(agent="orchestrator-rollout")
        try:
            return await question(kubernetes)
        finally:
            await kubernetes.aclose()

    return asyncio.run(asked())


def _share(bad: int | None, total: int | None) -> str:
    return "-" if bad is None or total is None else f"{bad}/{total}"


def _print_table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(value) for value in row))
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)
