"""`kubectl orchestrator retry`: an Execution that goes on where another one failed (`spec.from`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import Output, OutputOption, examples, print_json
from orchestrator.errors import OrchestratorError
from orchestrator_operator.cli.connecting import Context, Namespace
from orchestrator_operator.cli.verbs.common import Name, ask, called, find, new_app
from orchestrator_operator.cli.verbs.creating import create, document
from orchestrator_operator.cli.verbs.standing import Standing, described
from orchestrator_operator.cli.verbs.watching import follow_to_the_end
from orchestrator_operator.specs import EXECUTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes

app = new_app()

_AGAIN = re.compile(r"(?P<stem>.+)-retry(-(?P<number>[2-9]|[1-9][0-9]{1,3}))?")
_LONGEST = 253 - len("-retry-10000")


@app.command(
    epilog=examples("kubectl orchestrator retry order-1 --watch", "orchestrator retry order-1 --name order-1-again")
)
def retry(
    name: Name,
    new_name: Annotated[
        str | None,
        typer.Option("--name", help="The new Execution's name, by default NAME-retry.", show_default=False),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Repeat an execution that failed or was cancelled, from there on: a new one, which carries what was done.

    What was committed does not run again; requests repeat under the idempotency keys of the first time. Asked twice, it
    is repeated once: the new one's name is always the same, and a repetition of that one has the next number.

    Exit codes: 0 created or there already, or with --watch success; 1 there is nothing to repeat, or it failed; 130
    interrupted while watching.
    """
    chosen = new_name or repetition(name)

    async def question(kubernetes: Kubernetes) -> tuple[dict[str, Any], bool]:
        original = await find(kubernetes, EXECUTIONS, namespace, name)
        check(Standing.of(original))
        return await create(kubernetes, namespace, document(chosen, spec_of(original), {}))

    there, created = ask(question, context=context)
    if output is Output.TABLE:
        standing = "" if created else f" ({Standing.of(there).phase or 'Pending'})"
        typer.echo(f"{called(chosen)} {'created' if created else 'is there already'}{standing}")
    elif not watch:
        print_json({**described(there), "created": created})
    if watch:
        follow_to_the_end(chosen, namespace, context, output)


def repetition(name: str) -> str:
    """The name of the repetition of an execution: a, a-retry, a-retry-2, a-retry-3. Pure."""
    if match := _AGAIN.fullmatch(name):
        return f"{_shortened(match['stem'])}-retry-{int(match['number'] or 1) + 1}"
    return f"{_shortened(name)}-retry"


def _shortened(stem: str) -> str:
    return stem[:_LONGEST].rstrip("-.")


def check(original: Standing) -> None:
    """Raises OrchestratorError that says what to do in place of a repetition. Pure."""
    name = original.name
    if original.phase == "Success":
        message = f"{name} succeeded: there is nothing to retry; `spec.from.node` of a new Execution begins at a node"
        raise OrchestratorError(message)
    if not original.over:
        message = f"{name} is {original.phase or 'Pending'}, and not over: `kubectl orchestrator cancel {name}` ends it"
        raise OrchestratorError(message)
    if original.engine == "v1":
        message = (
            f"{name} ran on V1, which keeps no checkpoints: `kubectl orchestrator start` runs it from the first node"
        )
        raise OrchestratorError(message)


def spec_of(original: Mapping[str, Any]) -> dict[str, Any]:
    """Of the repetition; its input and the workflow's revision are those of the original. Pure."""
    spec = original["spec"]
    kept = {key: spec[key] for key in ("workflow", "ttlSecondsAfterFinished") if key in spec}
    return {**kept, "from": {"execution": original["metadata"]["name"]}}
