"""Executions as a person asks for them: made, and compared with one that is there already."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import OrchestratorError
from orchestrator_operator.specs import EXECUTIONS, GROUP, VERSION
from orchestrator_operator.specs.execution import parse_execution

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes

_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes makes names up: no vowels, so no words
_LONGEST: Final = 253
_SUFFIX: Final = 8
_FIXED: Final = ("workflow", "input", "engine", "routing_key", "idempotency_key", "from_")


def made_up(workflow: str) -> str:
    """A name for an execution of a workflow.

    Not by generateName: a create whose answer is lost is sent again, and must find the one that it made.
    """
    suffix = "".join(secrets.choice(_LETTERS) for _ in range(_SUFFIX))
    return f"{workflow[: _LONGEST - _SUFFIX - 1].rstrip('-.')}-{suffix}"


def document(name: str, spec: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """The resource to create. Raises InvalidExecution with the field's path."""
    parse_execution(dict(spec))
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = dict(labels)
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": EXECUTIONS.kind,
        "metadata": metadata,
        "spec": dict(spec),
    }


def difference(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """The first field of two specs, among those that never change, that is not the same; None: they are. Pure."""
    one, other = parse_execution(dict(there)), parse_execution(dict(wanted))
    fields = type(one).model_fields
    for name in _FIXED:
        if getattr(one, name) != getattr(other, name):
            return f"spec.{fields[name].alias}"
    return None


async def create(kubernetes: Kubernetes, namespace: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The resource, and whether this call made it. Raises OrchestratorError when another one has its name."""
    from orchestrator_operator.adapters.kubernetes import Conflict  # noqa: PLC0415 - see connecting.ask

    try:
        return await kubernetes.create(EXECUTIONS, namespace, body), True
    except Conflict:
        name = body["metadata"]["name"]
        there = await kubernetes.get(EXECUTIONS, namespace, name)
        if field := difference(there.get("spec") or {}, body["spec"]):
            message = f"{field}: there is an execution {name} already, with another value: choose another --name"
            raise OrchestratorError(message) from None
        return there, False
