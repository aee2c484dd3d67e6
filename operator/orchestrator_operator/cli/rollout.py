"""`orchestrator rollout`: how the rollouts stand, why, and what a person may say to them."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.options import Output, OutputOption, print_json, print_table
from orchestrator_operator.cli import rollout_report, rollout_simulate
from orchestrator_operator.cli.rollout_asking import Context, Name, Namespace, ask
from orchestrator_operator.cli.rollout_lines import standing
from orchestrator_operator.cli.rollout_rearm import rearm
from orchestrator_operator.cli.rollout_verbs import VERBS
from orchestrator_operator.cli.rollout_verify import Database, History, verify
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout_status import read_status

_WIDTH = 160  # of a table that no terminal bounds

app = typer.Typer(
    help="Watch and steer EngineRollouts (KUBECONFIG says in which cluster).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


app.command(epilog=rollout_simulate.EPILOG)(rollout_simulate.simulate)


@app.command("list")
def list_(namespace: Namespace = "", context: Context = None, output: OutputOption = Output.TABLE) -> None:
    """Every rollout: phase, stage, percent, verdict, evidence.

    Example: orchestrator rollout list --namespace shop
    """
    found = ask(lambda kubernetes: kubernetes.list(ROLLOUTS, namespace), context=context)
    if output is Output.JSON:
        print_json([{"name": body["metadata"]["name"], "status": body.get("status") or {}} for body in found])
        return
    columns = ("NAME", "PHASE", "REASON", "STAGE", "PERCENT", "VERDICT", "EVIDENCE")
    rows = []
    for body in found:
        status = read_status(body.get("status"))
        shown = (status.phase.value, status.reason, status.stage, status.percent, status.verdict, status.evidence)
        rows.append((body["metadata"]["name"], *shown))
    print_table(columns, rows, width=_WIDTH)


@app.command()
def status(
    name: Name,
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
    database: Database = None,
) -> None:
    """One rollout: where it stands, why, what it waits for, and each criterion with its counts and evidence.

    With the operator's database also its percent and its evidence over time, as a chart.

    Example: orchestrator rollout status v2 --output json
    """
    body = ask(lambda kubernetes: kubernetes.get(ROLLOUTS, namespace, name), context=context)
    if output is Output.JSON:
        print_json(body.get("status") or {})
        return
    found = read_status(body.get("status"))
    for line in standing(name, found):
        typer.echo(line)
    columns = ("CRITERION", "VERDICT", "V1 BAD/ALL", "V2 BAD/ALL", "WHY")
    rows = [(c.name, c.verdict.value, _share(c.k1, c.n1), _share(c.k2, c.n2), c.sentence) for c in found.criteria]
    print_table(columns, rows, width=_WIDTH)
    rollout_report.print_chart(body, database)


@app.command()
def history(
    name: Name,
    namespace: Namespace = "",
    context: Context = None,
    output: Annotated[History, typer.Option("--output", "-o", help="jsonl: the whole log.")] = History.TABLE,
    database: Database = None,
) -> None:
    """The last decisions of a rollout, oldest first, with who made them; or all of its log, out of the store.

    Example: orchestrator rollout history v2 --output jsonl > decisions.jsonl
    """
    body = ask(lambda kubernetes: kubernetes.get(ROLLOUTS, namespace, name), context=context)
    if output is History.JSONL:
        from orchestrator_operator.cli.rollout_log import print_log  # noqa: PLC0415 - see `ask`

        print_log(str(body["metadata"]["uid"]), database)
        return
    found = read_status(body.get("status"))
    if output is History.JSON:
        print_json([decision.model_dump(mode="json", by_alias=True) for decision in found.decisions])
        return
    for d in found.decisions:
        typer.echo(f"{d.at.isoformat(timespec='seconds')} {d.action} ({d.reason}, {d.actor}): {d.message}")


app.command("report", epilog=rollout_report.EPILOG)(rollout_report.report)
for verb in (verify, *VERBS):
    app.command()(verb)
app.command()(rearm)


def _share(bad: int | None, total: int | None) -> str:
    return "-" if bad is None or total is None else f"{bad}/{total}"
