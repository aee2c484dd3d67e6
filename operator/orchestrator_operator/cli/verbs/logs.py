"""`kubectl orchestrator logs`: what happened to an execution, from where somebody with kubectl alone can read it.

The resource, its Kubernetes Events and the logs of its container nodes; with a database also every event of the engine.
Nothing of it costs the operator a write.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import Output, OutputOption, examples
from orchestrator.errors import InvalidInput, StoreError
from orchestrator_operator.cli.connecting import Context, Namespace
from orchestrator_operator.cli.verbs import story
from orchestrator_operator.cli.verbs.common import INTERRUPTED, Name, ask, find, new_app
from orchestrator_operator.cli.verbs.standing import Standing
from orchestrator_operator.cli.verbs.story import Line
from orchestrator_operator.settings import variable
from orchestrator_operator.specs import EXECUTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.events import Recorded
    from orchestrator.store import Store
    from orchestrator_operator.adapters.kubernetes import Kubernetes

app = new_app()


@app.command(
    epilog=examples(
        "kubectl orchestrator logs order-1",
        "kubectl orchestrator logs order-1 --follow --tail 100",
        "orchestrator logs order-1 -n shop --database postgresql://… --output json",
    )
)
def logs(
    name: Name,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the execution is over.")] = False,
    tail: Annotated[
        int | None, typer.Option(min=1, help="At most so many of each container's last lines.", show_default=False)
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            "-d",
            envvar=variable("database"),
            help="The operator's database: with every event of the engine.",
            show_default=False,
        ),
    ] = None,
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """What happened to an execution, in order: the resource, its Kubernetes Events, what its container nodes printed.

    With the operator's database every event of the engine, too. Each line has its moment and its source: execution,
    event, engine, or the node and attempt of a container. JSON is one object a line.

    What you may not read is left out, and told: Events need `list` on events, containers `list` on pods and `get` on
    pods/log. Kubernetes keeps Events for an hour, and Jobs go when their time is over.

    Exit codes: 0 it was told, 1 there is no such execution; 130 interrupted.
    """

    def tell(line: Line) -> None:
        typer.echo(json.dumps(line.as_json(), ensure_ascii=False) if output is Output.JSON else str(line))

    async def question(kubernetes: Kubernetes) -> None:
        from orchestrator_operator.cli.verbs.containers import Containers  # noqa: PLC0415 - see connecting.ask

        body = await find(kubernetes, EXECUTIONS, namespace, name)
        containers = Containers(kubernetes, namespace, str(body["metadata"]["uid"]), tail, warn)
        parts = [story.of_resource(body), await _events(kubernetes, body), await _history(body, database)]
        for line in story.in_order(*parts, [] if follow else await containers.printed()):
            tell(line)
        if follow:
            await containers.follow(name, tell)
        elif says := story.where(Standing.of(body)):
            warn(says)

    try:
        ask(question, context=context)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def warn(text: str) -> None:
    """To standard error: what is left out, and what is no part of the log."""
    typer.echo(text, err=True)


async def _events(kubernetes: Kubernetes, body: Mapping[str, Any]) -> list[Line]:
    from orchestrator_operator.adapters.kubernetes import Refused  # noqa: PLC0415 - see connecting.ask

    meta = body["metadata"]
    try:
        return story.of_events(await kubernetes.events_about(meta["namespace"], meta["uid"]))
    except Refused as error:
        warn(f"without Kubernetes Events: {error}")
        return []


async def _history(body: Mapping[str, Any], database: str | None) -> list[Line]:
    """Every event of the engine, out of the store."""
    if database is None:
        return []
    from orchestrator.cli.executions.common import opened  # noqa: PLC0415 - takes a database's client along
    from orchestrator.cli.executions.showing import tell  # noqa: PLC0415 - the same

    async def read(store: Store) -> list[Recorded]:
        return await store.events(str(body["metadata"]["uid"]))

    try:
        async with opened(database) as store:
            found = await read(store)
    except (StoreError, InvalidInput) as error:
        warn(f"without the engine's events: {error}")
        return []
    return [Line(one.event.at, "engine", tell(one)) for one in found]
