"""`kubectl orchestrator signal`, `approve` and `reject`: an annotation, and the operator's answer to it.

Everybody who may patch Executions may do it, by kubectl as well. Nobody proves who `--by` names.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli.options import Output, OutputOption, examples, print_json
from orchestrator.errors import OrchestratorError
from orchestrator_operator.cli.connecting import Context, Namespace
from orchestrator_operator.cli.verbs.common import (
    NOT_ANSWERED,
    REFUSED,
    Asking,
    Name,
    NoWait,
    Timeout,
    ask,
    find,
    new_app,
    read_value,
    silence,
)
from orchestrator_operator.cli.verbs.standing import Standing
from orchestrator_operator.cli.verbs.waiting import until
from orchestrator_operator.specs import EXECUTIONS
from orchestrator_operator.specs import requests as wording
from orchestrator_operator.specs.requests import Approval, Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.specs.requests import Asked

signal_app, approve_app, reject_app = new_app(), new_app(), new_app()

_TRIES: Final = 5  # of reading and writing, while somebody else writes the resource, too
_WHO_AM_I: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

Node = Annotated[
    str | None, typer.Argument(help="The approval's node; may be left out when exactly one waits.", show_default=False)
]
By = Annotated[
    str | None,
    typer.Option("--by", help="Who decides; by default you, as the API server knows you.", show_default=False),
]
Comment = Annotated[str | None, typer.Option("--comment", help="Why.", show_default=False)]


@signal_app.command(
    epilog=examples(
        'kubectl orchestrator signal order-1 shipped --payload \'{"parcel": "4711"}\' --id parcel-4711',
        "kubectl orchestrator signal order-1 shipped --payload @parcel.json",
    )
)
def signal(
    name: Name,
    signal_name: Annotated[str, typer.Argument(metavar="SIGNAL", help="The signal's name.")],
    payload: Annotated[
        str, typer.Option("--payload", "-p", help="JSON; @FILE reads it from a file, - from standard input.")
    ] = "null",
    *,
    signal_id: Annotated[
        str | None,
        typer.Option("--id", help="Tells a repetition: of one id only the first counts.", show_default=False),
    ] = None,
    timeout: Timeout = "30s",
    no_wait: NoWait = False,
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send a signal, checked against its node's schema; one that is early is kept until a node takes it.

    Exit codes: 0 it is recorded, 1 it was refused, 2 bad input, 3 no operator answered in time (it still counts then).
    """
    value = read_value(payload, "--payload")
    asked = wording.ask(Signal, signal_id or _new_id(), name=signal_name, payload=value)
    _send(name, asked, Asking.of(namespace, context, output, timeout, no_wait))


@approve_app.command(
    epilog=examples(
        "kubectl orchestrator approve order-1",
        "kubectl orchestrator approve order-1 manager --by ada --comment 'fits the budget'",
    )
)
def approve(
    name: Name,
    node: Node = None,
    *,
    by: By = None,
    comment: Comment = None,
    timeout: Timeout = "30s",
    no_wait: NoWait = False,
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say yes to an approval that an execution waits for, or will. Of one approval only the first decision counts.

    Exit codes: 0 it is recorded, 1 it was refused, 3 no operator answered in time (it still counts then).
    """
    asking = Asking.of(namespace, context, output, timeout, no_wait)
    who = by or ask(whoami, context=context)
    _send(name, wording.ask(Approval, _new_id(), approved=True, by=who, node=node, comment=comment), asking)


@reject_app.command(
    epilog=examples("kubectl orchestrator reject order-1 manager --comment 'too dear'", "orchestrator reject order-1")
)
def reject(
    name: Name,
    node: Node = None,
    *,
    by: By = None,
    comment: Comment = None,
    timeout: Timeout = "30s",
    no_wait: NoWait = False,
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say no to an approval that an execution waits for, or will. Of one approval only the first decision counts.

    Exit codes: 0 it is recorded, 1 it was refused, 3 no operator answered in time (it still counts then).
    """
    asking = Asking.of(namespace, context, output, timeout, no_wait)
    who = by or ask(whoami, context=context)
    _send(name, wording.ask(Approval, _new_id(), approved=False, by=who, node=node, comment=comment), asking)


async def whoami(kubernetes: Kubernetes) -> str:
    """The name by which the API server knows whoever asks. Raises OrchestratorError."""
    from orchestrator_operator.adapters.kubernetes import KubernetesError  # noqa: PLC0415 - see connecting.ask

    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = await kubernetes.call("POST", _WHO_AM_I, body=review)
    except KubernetesError as error:
        raise OrchestratorError(f"the API server does not say who you are ({error}): say it by --by") from error
    return str(answer["status"]["userInfo"]["username"])


def _send(name: str, asked: Asked, asking: Asking) -> None:
    """Ask, wait for the answer, and tell it. Raises Exit."""

    async def question(kubernetes: Kubernetes) -> Mapping[str, Any] | None:
        namespace, patience = asking.namespace, asking.patience
        await find(kubernetes, EXECUTIONS, namespace, name)
        if patience is not None:  # what is asked before that does not count
            await until(kubernetes, namespace, name, looked_at, patience, "for an operator to look at it")
        await put(kubernetes, namespace, name, asked)
        if patience is None:
            return None

        def answered_(body: Mapping[str, Any]) -> bool:
            return answer_to(body, asked) is not None

        body = await until(kubernetes, namespace, name, answered_, patience, "for the operator's answer")
        return None if body is None else answer_to(body, asked)

    answer = ask(question, context=asking.context)
    accepted = None if answer is None else answer.get("accepted")
    says = None if answer is None else answer.get("answer")
    if asking.output is Output.JSON:
        print_json({"execution": name, "request": asked.short, "id": asked.id, "accepted": accepted, "answer": says})
    elif accepted is True:
        typer.echo(f"{name}: {says}")
    elif asking.patience is None:
        typer.echo(f"{name}: {asked.short} is asked for; the answer will stand in status.handled.requests")
    if accepted is False:
        typer.echo(f"error: {name}: {says}", err=True)
        raise typer.Exit(REFUSED)
    if answer is None and asking.patience is not None:
        back = f"`kubectl annotate execution {name} {asked.key}- -n {asking.namespace}` takes it back"
        said = f"{silence(asking.namespace, asking.patience)}; it counts when one sees it, and {back}"
        typer.echo(f"error: {name}: {said}", err=True)
        raise typer.Exit(NOT_ANSWERED)


async def put(kubernetes: Kubernetes, namespace: str, name: str, asked: Asked) -> None:
    """Annotate the resource, overwriting nothing. Raises OrchestratorError when that would be of no use."""
    from orchestrator_operator.adapters.kubernetes import Conflict  # noqa: PLC0415 - see connecting.ask

    for _ in range(_TRIES):
        body = await kubernetes.get(EXECUTIONS, namespace, name)
        if refusal := useless(Standing.of(body)):
            raise OrchestratorError(refusal)
        there = (body["metadata"].get("annotations") or {}).get(asked.key)
        if there == asked.text:
            return
        if there is not None:
            message = f"another request of this id waits for its answer ({asked.key}): take another --id"
            raise OrchestratorError(f"{name}: {message}")
        metadata = {"resourceVersion": body["metadata"]["resourceVersion"], "annotations": {asked.key: asked.text}}
        try:
            await kubernetes.patch(EXECUTIONS, namespace, name, {"metadata": metadata})
        except Conflict:
            continue  # perhaps by ourselves, in a call whose answer was lost: look again
        return
    raise OrchestratorError(f"{name}: it changes all the time: try again")


def looked_at(body: Mapping[str, Any]) -> bool:
    """Whether an operator has accepted it, or refused it, or lost it. Pure."""
    now = Standing.of(body)
    return now.accepted is not None or now.rests


def useless(now: Standing) -> str | None:
    """Why a request cannot be carried out, as far as the resource tells; None: the operator says. Pure."""
    if now.phase == "Unknown":
        return f"{now.name}: {now.message or 'the store does not know it'}"
    if now.refused:
        return f"{now.name} was refused ({now.reason}): {now.message}"
    if now.accepted is None:
        return f"{now.name} was not accepted yet, and requests from before that do not count: does an operator run?"
    return None


def answer_to(body: Mapping[str, Any], asked: Asked) -> Mapping[str, Any] | None:
    """What the operator answered to this very request; None: nothing yet. Pure."""
    from orchestrator_operator.handlers import answered  # noqa: PLC0415 - takes the operator along

    handled = (body.get("status") or {}).get("handled")
    entry = answered.find(handled if isinstance(handled, dict) else {}, asked)
    return entry if answered.is_answered(entry) else None


def _new_id() -> str:
    return uuid.uuid4().hex
