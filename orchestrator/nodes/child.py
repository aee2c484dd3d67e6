"""`workflow`: runs another workflow as a child execution, and waits for its end; its output is the child's output.

The child runs the revision that is current when it starts. A cancel of the parent, or its failure, cancels it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, Field

from orchestrator.nodes.base import OrExpression, With
from orchestrator.nodes.decided import Decided

_NAME: Final = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")  # RFC 1123, as Kubernetes has it


def _name(text: str) -> str:
    if not _NAME.match(text):
        raise ValueError("must be the name of a workflow in the same namespace, and no expression")
    return text


class ChildWith(With):
    """Which workflow, and with what."""

    # No expression, and no other namespace: what runs is the author's choice, not the input's.
    workflow: Annotated[str, AfterValidator(_name)] = Field(description="The name of a workflow in this namespace.")
    input: Annotated[dict[str, Any], OrExpression] = Field(default_factory=dict, description="The child's input.")


class ChildNode(Decided[ChildWith]):
    """A child execution."""

    name: ClassVar[str] = "workflow"
    With = ChildWith


def child_id(idempotency_key: str, attempt: int) -> str:
    """The id of the child that an attempt of a step runs: always the same one."""
    return hashlib.sha256(f"{idempotency_key}#{attempt}".encode()).hexdigest()[:32]
