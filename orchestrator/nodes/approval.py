"""`approval`: a signal that a person sends, with a name and a comment.

A rejection fails the node unless it is told otherwise. Its output is `{approved, approver, comment}`.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations at run time
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from orchestrator.nodes.base import With
from orchestrator.nodes.decided import Decided
from orchestrator.nodes.signal import NAME, Timeout

#: What an approval's payload looks like.
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["approved", "approver"],
    "additionalProperties": False,
    "properties": {
        "approved": {"type": "boolean"},
        "approver": {"type": "string", "minLength": 1, "maxLength": 200},
        "comment": {"type": "string", "maxLength": 2000},
    },
}


class ApprovalWith(With):
    """Who may decide, how long they have, and what a no means."""

    name: str | None = Field(
        default=None, pattern=NAME, description="The approval's name, fixed text; by default the node's id."
    )
    approvers: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, min_length=1, description="Only these may decide; by default anybody who may send signals."
    )
    timeout: Timeout | None = Field(default=None, description="How long to wait, such as 24h; by default for ever.")
    default: bool | None = Field(
        default=None, description="What counts when the time is over; without it the node fails (SignalTimeout)."
    )
    on_reject: Literal["fail", "continue"] = Field(
        default="fail", alias="onReject", description="fail: the node fails (Rejected); continue: its output says so."
    )


class ApprovalNode(Decided[ApprovalWith]):
    """A person's yes or no."""

    name: ClassVar[str] = "approval"
    With = ApprovalWith


def schema_of(with_: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an approval's payload; with a list of approvers only theirs fit."""
    approvers = with_.get("approvers")
    if not approvers:
        return SCHEMA
    properties = {**SCHEMA["properties"], "approver": {"enum": list(approvers)}}
    return {**SCHEMA, "properties": properties}
