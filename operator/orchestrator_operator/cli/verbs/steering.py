"""`kubectl orchestrator cancel`, `suspend` and `resume`: patches of the resource, and the operator's answer."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import typer

from orchestrator.cli.options import Output, OutputOption, examples, print_json
from orchestrator.errors import OrchestratorError
from orchestrator_operator.cli.connecting import Context, Namespace
from orchestrator_operator.cli.verbs.common import (
    NOT_ANSWERED,
    Asking,
    Name,
    NoWait,
    Timeout,
    ask,
    called,
    find,
    new_app,
    silence,
)
from orchestrator_operator.cli.verbs.standing import Standing, described
from orchestrator_operator.cli.verbs.waiting import until
from orchestrator_operator.specs import EXECUTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes

cancel_app, suspend_app, resume_app = new_app(), new_app(), new_app()

RESUME: Final = "orchestrator.dev/resume"  # as handlers/decide.py has it


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of an execution: the patch, when it is answered, and how that is told."""

    patch: Mapping[str, Any] | None  # None: there is nothing to do
    heard: Callable[[Mapping[str, Any]], bool]
    said: str  # when it was heard, or nothing was to be done


def cancelling(now: Standing, _spec: Mapping[str, Any]) -> Wish:
    """Raises OrchestratorError when it ended otherwise. Pure, as the others are."""
    if now.phase == "Cancelled":
        return Wish(None, _at_once, "is cancelled already")
    if now.over:
        raise OrchestratorError(f"{now.name} is over ({now.phase}): there is nothing to cancel")
    patch = {"spec": {"cancel": True}}
    if now.refused:
        return Wish(patch, _at_once, "was refused, and will not begin")
    return Wish(patch, lambda body: _ends(Standing.of(body)), "takes no further step")


def suspending(now: Standing, spec: Mapping[str, Any]) -> Wish:
    """Raises OrchestratorError when it is over."""
    _not_over(now, "suspend")
    if spec.get("suspend") is True and now.phase == "Suspended":
        return Wish(None, _at_once, "is suspended already")
    if spec.get("suspend") is True:
        return Wish(None, _at_once, "was asked to suspend before; if it was resumed since, `resume` it, and ask again")
    return Wish(
        {"spec": {"suspend": True}},
        lambda body: _handled(body).get("suspend") is True,
        "starts no further step until it is resumed; what runs now is finished",
    )


def resuming(now: Standing, spec: Mapping[str, Any]) -> Wish:
    """Lifts a suspension by the spec and every other one. Raises OrchestratorError when there is nothing to lift."""
    _not_over(now, "resume")
    lifted = {"spec": {"suspend": False}} if spec.get("suspend") is True else {}
    if now.accepted is not True:
        if not lifted:
            raise OrchestratorError(f"{now.name} was not accepted yet, and nothing holds it that could be lifted")
        return Wish(lifted, _at_once, "goes on when an operator accepts it")
    word = uuid.uuid4().hex
    return Wish(
        {"metadata": {"annotations": {RESUME: word}}, **lifted},
        lambda body: _handled(body).get("resume") == word,
        "goes on",
    )


def _ends(now: Standing) -> bool:
    return now.over or now.phase == "Compensating"


def _at_once(_: Mapping[str, Any]) -> bool:
    return True


def _handled(body: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (body.get("status") or {}).get("handled")
    return found if isinstance(found, dict) else {}


def _not_over(now: Standing, verb: str) -> None:
    if now.over:
        raise OrchestratorError(f"{now.name} is over ({now.phase}): there is nothing to {verb}")
    if now.phase == "Unknown":
        raise OrchestratorError(f"{now.name}: {now.message or 'the store does not know it'}")


@cancel_app.command(epilog=examples("kubectl orchestrator cancel order-1", "orchestrator cancel order-1 --no-wait"))
def cancel(
    name: Name,
    *,
    timeout: Timeout = "30s",
    no_wait: NoWait = False,
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start no further step of an execution, ever; what its compensations undo is undone.

    Exit codes: 0 it is over, or being undone; 1 it ended otherwise before; 3 neither in time, and it will be.
    """
    _do(name, cancelling, Asking.of(namespace, context, output, timeout, no_wait))


@suspend_app.command(epilog=examples("kubectl orchestrator suspend order-1", "orchestrator suspend order-1 -n shop"))
def suspend(
    name: Name,
    *,
    timeout: Timeout = "30s",
    no_wait: NoWait = False,
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start no further step of an execution until it is resumed. What runs is finished.

    Exit codes: 0 the operator passed it on, 1 the execution is over, 3 no operator answered in time.
    """
    _do(name, suspending, Asking.of(namespace, context, output, timeout, no_wait))


@resume_app.command(epilog=examples("kubectl orchestrator resume order-1", "orchestrator resume order-1 -n shop"))
def resume(
    name: Name,
    *,
    timeout: Timeout = "30s",
    no_wait: NoWait = False,
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let an execution go on that was suspended: by `suspend`, by its spec, or because it was restored.

    Exit codes: 0 the operator passed it on, 1 there is nothing to resume, 3 no operator answered in time.
    """
    _do(name, resuming, Asking.of(namespace, context, output, timeout, no_wait))


def _do(name: str, wishing: Callable[[Standing, Mapping[str, Any]], Wish], asking: Asking) -> None:
    """Patch, wait for the answer, and tell it. Raises Exit."""
    namespace, patience = asking.namespace, asking.patience

    async def question(kubernetes: Kubernetes) -> tuple[Wish, dict[str, Any], bool]:
        body = await find(kubernetes, EXECUTIONS, namespace, name)
        wish = wishing(Standing.of(body), body.get("spec") or {})
        if wish.patch is None:
            return wish, body, True
        body = await kubernetes.patch(EXECUTIONS, namespace, name, wish.patch)
        if patience is None:
            return wish, body, wish.heard(body)
        after = await until(kubernetes, namespace, name, wish.heard, patience, f"for {name}")
        return wish, after or await kubernetes.get(EXECUTIONS, namespace, name), after is not None

    wish, body, heard = ask(question, context=asking.context)
    now = Standing.of(body)
    if asking.output is Output.JSON:
        print_json({**described(body), "heard": heard})
    elif heard:
        typer.echo(f"{called(name)} {wish.said}{f' ({now.phase})' if now.over or now.phase == 'Compensating' else ''}")
    elif patience is None:
        typer.echo(f"{called(name)} patched")
    if patience is not None and not heard:
        at = f" at {now.node}" if now.node else ""
        typer.echo(f"error: {name} is {now.phase or 'Pending'}{at}; {silence(namespace, patience)}", err=True)
        raise typer.Exit(NOT_ANSWERED)
