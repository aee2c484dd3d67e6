"""`signal`, `approve` and `reject`: what people and programs tell a waiting execution."""

from __future__ import annotations

import sys
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from orchestrator import signals, steering
from orchestrator.cli.executions.common import Id, app, ask
from orchestrator.cli.options import Database, Output, OutputOption, examples, print_json, read_json
from orchestrator.store import Store
from orchestrator.store.messages import Delivered

_SAYS = {
    Delivered.RECORDED: "recorded",
    Delivered.DUPLICATE: "nothing to do, it was sent before",
    Delivered.OVER: "nothing was recorded, the execution is over",
    Delivered.UNKNOWN: "nothing was recorded, the execution is unknown",
}
_ARRIVED = (Delivered.RECORDED, Delivered.DUPLICATE)
NodeArgument = Annotated[
    str | None, typer.Argument(help="The approval's node; may be left out when exactly one waits.", show_default=False)
]
By = Annotated[str, typer.Option("--by", help="Who decides.")]
Comment = Annotated[str | None, typer.Option("--comment", help="Why.", show_default=False)]


@app.command(
    epilog=examples(
        'orchestrator executions signal 0b7c… shipped --payload \'{"parcel": "4711"}\'',
        "orchestrator executions signal 0b7c… shipped --payload @parcel.json --id parcel-4711",
    )
)
def signal(
    execution_id: Id,
    name: Annotated[str, typer.Argument(help="The signal's name.")],
    payload: Annotated[str, typer.Option("--payload", "-p", help="JSON; @FILE reads it from a file.")] = "null",
    signal_id: Annotated[
        str | None,
        typer.Option("--id", help="Tells a repetition: of one id only the first counts.", show_default=False),
    ] = None,
    database: Database = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send a signal, checked against its node's schema; one that is early is kept until a node takes it.

    Exit codes: 0 it is recorded, now or before; 1 the execution is over or unknown; 2 the signal is wrong.
    """
    value, sent = read_json(payload, "--payload"), signal_id or uuid.uuid4().hex

    async def asked(store: Store) -> Delivered:
        known = await steering.look_up(store, execution_id)
        return await steering.send_signal(store, known, name, value, sent, datetime.now(UTC))

    _answer(execution_id, name, sent, ask(database, asked), output)


@app.command(epilog=examples("orchestrator executions approve 0b7c… --by ada --comment 'fits the budget'"))
def approve(
    execution_id: Id,
    by: By,
    node: NodeArgument = None,
    comment: Comment = None,
    database: Database = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say yes to an approval that an execution waits for, or will."""
    _decide(execution_id, node, signals.decision(approved=True, approver=by, comment=comment), database, output)


@app.command(epilog=examples("orchestrator executions reject 0b7c… manager --by ada --comment 'too dear'"))
def reject(
    execution_id: Id,
    by: By,
    node: NodeArgument = None,
    comment: Comment = None,
    database: Database = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say no to an approval that an execution waits for, or will."""
    _decide(execution_id, node, signals.decision(approved=False, approver=by, comment=comment), database, output)


def _decide(
    execution_id: str, node_id: str | None, payload: dict[str, Any], database: str | None, output: Output
) -> None:
    async def asked(store: Store) -> tuple[str, Delivered]:
        known = await steering.look_up(store, execution_id)
        if known.record.status.terminal:
            return node_id or "approval", Delivered.OVER
        if node_id is None:
            node = signals.waiting_approval(known.workflow, known.execution)
        else:
            node = signals.approval_node(known.workflow, node_id)
        # One decision for a node: who comes second is told so.
        now, name, sent = datetime.now(UTC), signals.signal_name(node), f"approval:{node.id}"
        return node.id, await steering.send_signal(store, known, name, payload, sent, now)

    node, delivered = ask(database, asked)
    _answer(execution_id, node, f"approval:{node}", delivered, output)


def _answer(execution_id: str, name: str, signal_id: str, delivered: Delivered, output: Output) -> None:
    if output is Output.JSON:
        print_json({"execution": execution_id, "signal": name, "id": signal_id, "result": delivered.value})
    else:
        typer.echo(f"{execution_id} {name}: {_SAYS[delivered]}", err=delivered not in _ARRIVED)
    if delivered not in _ARRIVED:
        sys.exit(1)
