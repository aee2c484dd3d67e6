"""What the verbs share: their arguments, their exit codes, and how a name that is not there is answered."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator import durations
from orchestrator.cli.options import Output, duration, read_json
from orchestrator.errors import OrchestratorError
from orchestrator_operator.cli import connecting
from orchestrator_operator.specs import EXECUTIONS, GROUP, Resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator_operator.adapters.kubernetes import Kubernetes

REFUSED: Final = 1
NOT_ANSWERED: Final = 3
INTERRUPTED: Final = 130
_NAMED: Final = 10  # of those that there are

ask = partial(connecting.ask, agent="kubectl-orchestrator")

Name = Annotated[str, typer.Argument(help="The Execution's name.", autocompletion=connecting.names_of(EXECUTIONS))]
Timeout = Annotated[str, typer.Option("--timeout", help="How long to wait for the operator's answer.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Only ask, and do not wait for an answer.")]


@dataclass(frozen=True, slots=True)
class Asking:
    """Where something is asked, how long an answer is waited for, and how it is printed."""

    namespace: str
    context: str | None
    output: Output
    patience: timedelta | None  # None: it is not waited for

    @classmethod
    def of(cls, namespace: str, context: str | None, output: Output, timeout: str, no_wait: bool) -> Asking:
        """From a command's options. Raises InvalidInput."""
        patience = duration(timeout, "--timeout")
        return cls(namespace, context, output, None if no_wait else patience)


def new_app() -> typer.Typer:
    """An app of one command."""
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


def read_value(text: str, option: str) -> Any:
    """The value of an option that is JSON, @FILE, or - for standard input. Raises InvalidExecution."""
    if text == "-":
        return read_json(typer.get_text_stream("stdin").read(), option)
    return read_json(text, option)


async def find(kubernetes: Kubernetes, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
    """An object by its name. Raises OrchestratorError that names what there is, and KubernetesError."""
    from orchestrator_operator.adapters.kubernetes import NotFound, Refused  # noqa: PLC0415 - see connecting.ask

    try:
        return await kubernetes.get(resource, namespace, name)
    except NotFound as error:
        try:
            there = [body["metadata"]["name"] for body in await kubernetes.list(resource, namespace)]
        except Refused:  # who may read one need not be allowed to list them
            raise OrchestratorError(f"there is no {resource.kind} {name!r} in the namespace {namespace}") from error
        except NotFound:
            message = f"the cluster knows no {resource.plural}: kubectl apply -f crds/, or another --context"
            raise OrchestratorError(message) from error
        raise OrchestratorError(missing(resource, namespace, name, there)) from error


def missing(resource: Resource, namespace: str, name: str, there: Sequence[str]) -> str:
    """That there is no such object, and what there is: what is spelt alike first. Pure."""
    alike = difflib.get_close_matches(name, there, n=3)
    named = [*alike, *sorted(set(there) - set(alike))][:_NAMED]
    more = f" and {len(there) - len(named)} more" if len(there) > len(named) else ""
    has = f"it has {', '.join(named)}{more}" if named else f"it has none (`kubectl get {resource.short} -A` shows all)"
    return f"there is no {resource.kind} {name!r} in the namespace {namespace}; {has}"


def called(name: str) -> str:
    """As kubectl names an Execution."""
    return f"{EXECUTIONS.singular}.{GROUP}/{name}"


def silence(namespace: str, patience: timedelta) -> str:
    """What to look at when nobody answers."""
    return (
        f"no answer within {durations.show(patience)}: does an operator serve the namespace {namespace}? Where it is, "
        "`kubectl get lease orchestrator-operator` says who leads, `kubectl logs deployment/orchestrator-operator` "
        "what it does"
    )
