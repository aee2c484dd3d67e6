"""`kubectl orchestrator watch`, and what `start --watch` does after it has created: follow one execution to its end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from orchestrator.cli.options import Output, OutputOption, examples, print_json
from orchestrator.errors import OrchestratorError
from orchestrator_operator.cli.connecting import Context, Namespace
from orchestrator_operator.cli.verbs import standing
from orchestrator_operator.cli.verbs.common import INTERRUPTED, Name, ask, find, new_app
from orchestrator_operator.cli.verbs.standing import Standing
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes, KubernetesError

app = new_app()

_SILENT: Final = 10.0  # seconds without an answer, after which a person is told what may be missing


@app.command(
    epilog=examples("kubectl orchestrator watch order-1", "orchestrator watch order-1 --namespace shop --output json")
)
def watch(name: Name, namespace: Namespace = "", context: Context = None, output: OutputOption = Output.TABLE) -> None:
    """Follow an execution to its end: a line for each change, and why it waits.

    Exit codes: 0 success, 1 any other end, or refused; 130 interrupted, and the execution goes on.
    """
    follow_to_the_end(name, namespace, context, output)


def follow_to_the_end(name: str, namespace: str, context: str | None, output: Output) -> None:
    """Print each change, then the output, or one JSON document (the lines go to standard error then). Raises Exit."""

    async def question(kubernetes: Kubernetes) -> dict[str, Any]:
        return await to_the_end(kubernetes, namespace, name, to_stderr=output is Output.JSON)

    try:
        body = ask(question, context=context)
    except KeyboardInterrupt:
        typer.echo(
            f"interrupted; {name} goes on. Look again: kubectl orchestrator watch {name} -n {namespace}", err=True
        )
        raise typer.Exit(INTERRUPTED) from None
    now = Standing.of(body)
    if output is Output.JSON:
        print_json(standing.described(body))
    elif now.phase == "Success":
        _print_output(body.get("status") or {})
    raise typer.Exit(standing.exit_code(now))


def _print_output(status: Mapping[str, Any]) -> None:
    if status.get("outputReference"):
        typer.echo(f"output: {status['outputReference']}")
    elif status.get("output") is not None:
        print_json(status["output"])


async def to_the_end(kubernetes: Kubernetes, namespace: str, name: str, *, to_stderr: bool) -> dict[str, Any]:
    """The resource when nothing more comes by itself; each change is told. Raises OrchestratorError."""
    from orchestrator_operator.adapters.following import follow  # noqa: PLC0415 - see connecting.ask
    from orchestrator_operator.adapters.kubernetes import NotFound  # noqa: PLC0415 - the same

    first = await find(kubernetes, EXECUTIONS, namespace, name)
    nodes = await _nodes(kubernetes, namespace, first)
    before: Standing | None = None
    accepted, begun = asyncio.Event(), asyncio.Event()
    hint = asyncio.create_task(_hint(accepted, begun, namespace))

    def troubled(error: KubernetesError) -> None:
        typer.echo(f"{error}; trying again", err=True)

    try:
        async with aclosing(follow(kubernetes, EXECUTIONS, namespace, name, troubled=troubled)) as changes:
            async for body in changes:
                now = Standing.of(body)
                if now.accepted is not None:
                    accepted.set()
                if now.phase not in ("", "Pending"):
                    begun.set()
                if said := standing.line(before, now, nodes, datetime.now(UTC)):
                    typer.echo(said, err=to_stderr)
                before = now
                if now.rests:
                    return body
    except NotFound as error:
        raise OrchestratorError(f"{name} was deleted, and is cancelled with that: {error}") from error
    finally:
        hint.cancel()
    raise AssertionError("a watch ends by what it sees")  # pragma: no cover - see follow


async def _hint(accepted: asyncio.Event, begun: asyncio.Event, namespace: str) -> None:
    """Say what may be missing while nothing happens."""
    said = {
        accepted: f"no operator has looked at it yet: does one run for the namespace {namespace}?",
        begun: "no worker has taken it up yet: does one run, or is its workflow's concurrency limit reached?",
    }
    for event, text in said.items():
        try:
            async with asyncio.timeout(_SILENT):
                await event.wait()
        except TimeoutError:
            typer.echo(text, err=True)
            await event.wait()


async def _nodes(kubernetes: Kubernetes, namespace: str, body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    from orchestrator_operator.adapters.kubernetes import KubernetesError  # noqa: PLC0415 - see connecting.ask

    try:
        return standing.nodes_of(await kubernetes.get(WORKFLOWS, namespace, str(body["spec"]["workflow"])))
    except (KubernetesError, KeyError, TypeError):  # it is only for the sentences
        return {}
