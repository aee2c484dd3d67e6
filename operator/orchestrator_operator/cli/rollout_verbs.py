"""The verbs of `orchestrator rollout`: pause, resume, approve, promote, abort.

Each is an annotation, so `kubectl annotate` does the same; the spec belongs to whoever wrote it, often Git. Each waits
until the controller has heard it. Exit codes: 0 it was followed, 1 it was refused, 3 it was not heard in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Output, OutputOption, duration, print_json
from orchestrator.errors import OrchestratorError
from orchestrator_operator.cli.rollout_asking import Context, Name, Namespace, ask
from orchestrator_operator.cli.rollout_saying import Said, say
from orchestrator_operator.rollout.phases import OVER
from orchestrator_operator.rollout.planning.situation import ABORT, APPROVE, PAUSE, PROMOTE, RESUME

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator_operator.specs.rollout_status import RolloutStatus

REFUSED, NOT_HEARD = 1, 3  # exit codes

Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the decision log.")]
StageName = Annotated[str | None, typer.Option("--stage", help="The stage's name.", show_default="what it awaits")]
Timeout = Annotated[
    str, typer.Option("--timeout", help="How long to wait until the controller has heard it; 0s: not at all.")
]


def pause(
    name: Name,
    reason: Reason = "true",
    timeout: Timeout = "30s",
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Stop promotion until resume. Executions go on at the present percent, and criteria still roll back.

    Example: orchestrator rollout pause v2 --reason "release freeze"
    """
    _say(name, namespace, context, PAUSE, lambda _: reason, timeout, output)


def resume(
    name: Name,
    timeout: Timeout = "30s",
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lift a pause. One that stands in the spec (`paused: true`) is lifted there.

    Example: orchestrator rollout resume v2
    """
    _say(name, namespace, context, RESUME, lambda _: "true", timeout, output)


def approve(
    name: Name,
    stage: StageName = None,
    timeout: Timeout = "30s",
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let a rollout go on that awaits approval; with --stage in advance. Exit code 1 when nothing awaits it.

    Example: orchestrator rollout approve v2
    """

    def word(found: RolloutStatus) -> str:
        if not stage and not found.awaits:
            raise OrchestratorError(f"{name}: it is {found.phase}, and awaits no approval")
        return stage or found.awaits

    _say(name, namespace, context, APPROVE, word, timeout, output)


def promote(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Also without its criteria; the log says so.")] = False,
    stage: Annotated[
        str | None, typer.Option("--stage", help="The stage to end.", show_default="the one that runs")
    ] = None,
    timeout: Timeout = "30s",
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """End the wait of the running stage. Its criteria must have passed all the same, unless it is forced.

    Example: orchestrator rollout promote v2
    """

    def word(found: RolloutStatus) -> str:
        named = stage or found.stage
        return f"force:{named}" if force else named

    _say(name, namespace, context, PROMOTE, word, timeout, output)


def abort(
    name: Name,
    reason: Reason = "aborted by a person",
    timeout: Timeout = "30s",
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Roll back now: the flag is cleared, V2's executions end. It beats every other state.

    Example: orchestrator rollout abort v2 --reason "duplicate mails"
    """
    _say(name, namespace, context, ABORT, lambda _: reason, timeout, output)


VERBS: tuple[Callable[..., None], ...] = (pause, resume, approve, promote, abort)


def _say(
    name: str,
    namespace: str,
    context: str | None,
    annotation: str,
    word: Callable[[RolloutStatus], str],
    timeout: str,
    output: Output,
) -> None:
    patience = duration(timeout, "--timeout")

    def progress(line: str) -> None:
        typer.echo(line, err=True)

    said = ask(
        lambda kubernetes: say(kubernetes, name, namespace, annotation, word, timeout=patience, progress=progress),
        context=context,
    )
    _show(said, timeout, output, waited=bool(patience))


def _show(said: Said, timeout: str, output: Output, *, waited: bool) -> None:
    if output is Output.JSON:
        print_json(said.as_json())
    if said.word is not None:
        line = f"{said.name}: {said.word.answer}" if said.word.done else f"error: {said.name}: {said.word.answer}"
        if output is Output.TABLE or not said.word.done:
            typer.echo(line, err=not said.word.done)
        if not said.word.done:
            raise typer.Exit(REFUSED)
        return
    stands = f"the annotation {said.verb}={said.value} stands, and counts when the controller sees it"
    if not waited:
        if output is Output.TABLE:
            typer.echo(f"{said.name}: {stands}")
        return
    still = f"it is {said.status.phase}" + (" already" if said.status.phase in OVER else "")
    typer.echo(f"error: {said.name}: not heard within {timeout} ({still}): {stands}; does the operator run?", err=True)
    raise typer.Exit(NOT_HEARD)
