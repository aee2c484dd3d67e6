"""`kubectl orchestrator start`: an Execution of a Workflow."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import Output, OutputOption, duration, examples, print_json
from orchestrator.errors import InvalidExecution, OrchestratorError, Problem
from orchestrator_operator.cli.connecting import Context, Namespace, names_of
from orchestrator_operator.cli.verbs import standing
from orchestrator_operator.cli.verbs.common import ask, called, find, new_app, read_value
from orchestrator_operator.cli.verbs.creating import create, document, made_up
from orchestrator_operator.cli.verbs.watching import follow_to_the_end
from orchestrator_operator.specs import WORKFLOWS
from orchestrator_operator.specs.conditions import find as find_condition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator_operator.adapters.kubernetes import Kubernetes

app = new_app()

_LABEL = re.compile(r"(?P<key>[^=\s]+)=(?P<value>\S*)")


class Engine(StrEnum):
    """Which engine runs it; `auto` lets the flag decide."""

    AUTO = "auto"
    V1 = "v1"
    V2 = "v2"


@app.command(
    epilog=examples(
        "kubectl orchestrator start order-fulfilment --input @order.json --watch",
        'kubectl orchestrator start order-fulfilment --name order-1 --input \'{"orderId": "order-1"}\'',
        "orchestrator start nightly -n shop --ttl 1h --label team=billing --output json",
    )
)
def start(
    workflow: Annotated[str, typer.Argument(help="The Workflow's name.", autocompletion=names_of(WORKFLOWS))],
    input_: Annotated[
        str, typer.Option("--input", "-i", help="The input, JSON; @FILE reads it from a file, - from standard input.")
    ] = "{}",
    *,
    name: Annotated[
        str | None,
        typer.Option(help="The Execution's name, by default the workflow's and eight letters.", show_default=False),
    ] = None,
    engine: Annotated[Engine, typer.Option(help="auto: as the flag says.")] = Engine.AUTO,
    routing_key: Annotated[
        str | None, typer.Option(help="Executions with the same key stay on the same engine.", show_default=False)
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Of one workflow, one execution with this key runs.", show_default=False)
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="KEY=VALUE; may be repeated.", show_default=False)
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option(help="Delete the resource so long after its end, such as 1h.", show_default=False),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start an execution of a workflow. With --name the same again starts nothing, and says so.

    The input is checked against the workflow's schema before anything is created.

    Exit codes: 0 created, or with --watch success; 1 it failed, or another execution has that name; 2 bad input; 130
    interrupted while watching, and the execution goes on.
    """
    value = read_value(input_, "--input")
    wanted: dict[str, Any] = {
        "workflow": workflow,
        "input": value,
        "engine": None if engine is Engine.AUTO else engine.value,
        "routingKey": routing_key,
        "idempotencyKey": idempotency_key,
        "ttlSecondsAfterFinished": None if ttl is None else int(duration(ttl, "--ttl").total_seconds()),
    }
    spec = {key: one for key, one in wanted.items() if one is not None}
    chosen = name or made_up(workflow)
    body = document(chosen, spec, labels(label or ()))

    async def question(kubernetes: Kubernetes) -> tuple[dict[str, Any], bool]:
        await _check(kubernetes, namespace, workflow, value)
        return await create(kubernetes, namespace, body)

    there, created = ask(question, context=context)
    if output is Output.TABLE:
        typer.echo(f"{called(chosen)} {'created' if created else 'unchanged'}")
    elif not watch:
        print_json({**standing.described(there), "created": created})
    if watch:
        follow_to_the_end(chosen, namespace, context, output)


def labels(given: Sequence[str]) -> dict[str, str]:
    """Labels from KEY=VALUE. Raises InvalidExecution."""
    found = {text: _LABEL.fullmatch(text) for text in given}
    if wrong := [text for text, match in found.items() if match is None]:
        raise InvalidExecution([Problem("--label", f"{text!r} is not KEY=VALUE") for text in wrong])
    return {match["key"]: match["value"] for match in found.values() if match is not None}


async def _check(kubernetes: Kubernetes, namespace: str, name: str, value: Any) -> None:
    """What the operator would refuse, refused before: an unknown or invalid workflow, an input that does not fit."""
    from orchestrator.schemas import input_problems  # noqa: PLC0415 - takes a while, which `--help` need not
    from orchestrator_operator.adapters.kubernetes import Refused  # noqa: PLC0415 - see connecting.ask

    if problems := input_problems(None, value, "--input"):
        raise InvalidExecution(problems)
    try:
        found = await find(kubernetes, WORKFLOWS, namespace, name)
    except Refused:  # who may start executions need not be allowed to read workflows: the operator checks it
        return
    valid = find_condition(found.get("status"), "Valid") or {}
    if valid.get("status") == "False":
        raise OrchestratorError(f"the Workflow {name} is not valid: {valid.get('message')}; correct it, and try again")
    if problems := input_problems(_schema(found), value, "--input"):
        raise InvalidExecution(problems)


def _schema(workflow: Mapping[str, Any]) -> Mapping[str, Any] | None:
    spec = workflow.get("spec") or {}
    found = (spec.get("input") or {}).get("schema")
    return found if isinstance(found, dict) else None
