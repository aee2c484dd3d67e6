"""`orchestrator executions fork`."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator import forks, steering
from orchestrator.authoring import compile_workflow, read_document
from orchestrator.cli.executions.common import Id, app, ask
from orchestrator.cli.options import Database, Output, OutputOption, examples, print_json, read_json
from orchestrator.errors import InvalidExecution, InvalidInput, Problem, UnknownExecution
from orchestrator.forks import Change, Fork
from orchestrator.model import Workflow
from orchestrator.store import Store

_CURRENT = "current"


@app.command(
    epilog=examples(
        "orchestrator executions fork 0b7c… --from charge",
        "orchestrator executions fork 0b7c… --from charge --input @order.json --revision current",
    )
)
def fork(
    execution_id: Id,
    *,
    node: Annotated[str, typer.Option("--from", help="The node to begin at.")],
    database: Database = None,
    input_: Annotated[
        str | None, typer.Option("--input", "-i", help="Another input, JSON; @FILE reads it from a file.")
    ] = None,
    workflow: Annotated[
        Path | None, typer.Option(help="A newer form of its workflow, a file.", exists=True, dir_okay=False)
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Another revision that the database keeps; `current` is the newest.")
    ] = None,
    new_id: Annotated[str | None, typer.Option("--id", help="The new execution's id.", show_default=False)] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same fork with the same key again is the one that is there.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would carry.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Begin a new execution at a node of one that is over: what is done before it is carried, the rest runs again.

    With the same input and workflow services see the idempotency keys of the original; otherwise its own.
    """
    if workflow is not None and revision is not None:
        raise InvalidInput([Problem("--revision", "a file and a revision cannot both be the workflow")])
    value = None if input_ is None else read_json(input_, "--input")
    target = None if workflow is None else _compiled(workflow)

    async def asked(store: Store) -> tuple[Fork, bool]:
        known = await steering.look_up(store, execution_id)
        other = target if revision is None else await _revision(store, known.record.workflow_id, revision)
        if other is not None and other.id != known.record.workflow_id:
            message = f"{other.id} is another workflow than {known.record.workflow_id}, of which this is an execution"
            raise InvalidExecution([Problem("--workflow", message)])
        fork_id = new_id or _id(execution_id, node, idempotency_key)
        now, change = datetime.now(UTC), Change(other, value)
        made = forks.fork(known.workflow, known.execution, fork_id, now, node=node, change=change)
        if dry_run:
            return made, False
        return made, await steering.submit_fork(store, made, now, idempotency_key=idempotency_key)

    made, created = ask(database, asked)
    result = "would be forked" if dry_run else "recorded" if created else "there already"
    if output is Output.JSON:
        print_json(_described(made, result))
        return
    typer.echo(f"{made.id} forked from {execution_id} at {node}: {result}")
    typer.echo(f"  carried: {len({c.node for c in made.carried})} of {len(made.workflow.nodes)} nodes")
    for note in made.notes:
        typer.echo(f"  {note}")


def _described(made: Fork, result: str) -> dict[str, Any]:
    return {
        "id": made.id,
        "result": result,
        "origin": made.lineage.origin,
        "workflow": made.workflow.id,
        "revision": made.workflow.revision,
        "same_keys": made.repeats,
        "carried": [{"node": event.node, "item": event.item} for event in made.carried],
        "notes": list(made.notes),
    }


def _id(origin: str, node: str, key: str | None) -> str:
    """With a key always the same one."""
    return uuid.uuid4().hex if key is None else hashlib.sha256(f"{origin}#{node}#{key}".encode()).hexdigest()[:32]


def _compiled(path: Path) -> Workflow:
    namespace, name, spec = read_document(path)
    return compile_workflow(spec, namespace=namespace, name=name)


async def _revision(store: Store, workflow_id: str, revision: str) -> Workflow:
    if revision == _CURRENT:
        newest = await store.current(workflow_id)
        if newest is None:
            raise UnknownExecution(f"no revision of {workflow_id} is kept in this database")
        return newest
    return await store.workflow(workflow_id, revision)
