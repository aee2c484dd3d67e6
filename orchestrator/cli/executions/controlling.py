"""`cancel`, `suspend`, `resume` and `retry`: of executions that are named, or of all that fit."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.executions.bulk import Verb, controls, perform, retries
from orchestrator.cli.executions.common import app
from orchestrator.cli.executions.selecting import (
    EngineOption,
    Ids,
    KindOption,
    LimitOption,
    NewerOption,
    NodeOption,
    OlderOption,
    StalledOption,
    StatusOption,
    WorkflowOption,
    chosen,
)
from orchestrator.cli.options import Database, Output, OutputOption, examples
from orchestrator.model import Status
from orchestrator.store import Control

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell which they are.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before many are changed.")]

_ACTIVE = (Status.PENDING, Status.RUNNING, Status.WAITING, Status.SUSPENDED, Status.COMPENSATING)
CANCEL = Verb("cancel", _ACTIVE, controls(Control.CANCEL))
SUSPEND = Verb("suspend", (Status.PENDING, Status.RUNNING, Status.WAITING), controls(Control.SUSPEND))
RESUME = Verb("resume", (Status.SUSPENDED,), controls(Control.RESUME))


@app.command(
    epilog=examples(
        "orchestrator executions cancel 0b7c…",
        "orchestrator executions cancel --workflow orders --status waiting --older-than 7d --dry-run",
        "orchestrator executions cancel --engine v1 --stalled --yes",
    )
)
def cancel(
    ids: Ids = None,
    *,
    database: Database = None,
    workflow: WorkflowOption = None,
    status: StatusOption = None,
    engine: EngineOption = None,
    stalled: StalledOption = False,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    failed_kind: KindOption = None,
    failed_node: NodeOption = None,
    limit: LimitOption = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Cancel executions: no step starts after this; steps in flight end.

    What a V1 that died left behind is over at once; one that lives sees it at its next node.
    """
    selection = chosen(
        workflow, status, older_than, newer_than, failed_kind, failed_node, limit, engine, stalled=stalled
    )
    perform(CANCEL, ids, selection, database, output, dry_run=dry_run, yes=yes)


@app.command(
    epilog=examples("orchestrator executions suspend 0b7c…", "orchestrator executions suspend --workflow orders --yes")
)
def suspend(
    ids: Ids = None,
    *,
    database: Database = None,
    workflow: WorkflowOption = None,
    status: StatusOption = None,
    engine: EngineOption = None,
    stalled: StalledOption = False,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    failed_kind: KindOption = None,
    failed_node: NodeOption = None,
    limit: LimitOption = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Suspend executions until `resume`: steps in flight end, no other starts."""
    selection = chosen(
        workflow, status, older_than, newer_than, failed_kind, failed_node, limit, engine, stalled=stalled
    )
    perform(SUSPEND, ids, selection, database, output, dry_run=dry_run, yes=yes)


@app.command(
    epilog=examples("orchestrator executions resume 0b7c…", "orchestrator executions resume --workflow orders --yes")
)
def resume(
    ids: Ids = None,
    *,
    database: Database = None,
    workflow: WorkflowOption = None,
    status: StatusOption = None,
    engine: EngineOption = None,
    stalled: StalledOption = False,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    failed_kind: KindOption = None,
    failed_node: NodeOption = None,
    limit: LimitOption = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let suspended executions go on, those that a restore held back too."""
    selection = chosen(
        workflow, status, older_than, newer_than, failed_kind, failed_node, limit, engine, stalled=stalled
    )
    perform(RESUME, ids, selection, database, output, dry_run=dry_run, yes=yes)


@app.command(
    epilog=examples(
        "orchestrator executions retry 0b7c…",
        "orchestrator executions retry --failed-kind HttpStatus --failed-node charge --newer-than 2h",
    )
)
def retry(
    ids: Ids = None,
    *,
    database: Database = None,
    workflow: WorkflowOption = None,
    status: StatusOption = None,
    engine: EngineOption = None,
    stalled: StalledOption = False,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    failed_kind: KindOption = None,
    failed_node: NodeOption = None,
    limit: LimitOption = None,
    new_id: Annotated[
        str | None, typer.Option("--id", help="The id of the new execution, when one is repeated.", show_default=False)
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Repeat failed or cancelled executions from where they failed, as new ones: what is done is not done again.

    Each is repeated once, however often this is typed: if the repetition fails, too, retry that one. Services see the
    idempotency keys of the original, but for steps that were compensated.
    """
    selection = chosen(
        workflow, status, older_than, newer_than, failed_kind, failed_node, limit, engine, stalled=stalled
    )
    verb = Verb("retry", (Status.FAILED,), retries(new_id), only_one=new_id is not None)
    perform(verb, ids, selection, database, output, dry_run=dry_run, yes=yes)
