"""`signal`: waits until somebody sends a signal of its name; its output is what was sent.

A signal that arrives early is kept until a node takes it; one that arrives twice (by its id) counts once. Signals of
one name are taken in the order in which they came, each by one node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from orchestrator import durations
from orchestrator.nodes.base import OrExpression, With
from orchestrator.nodes.decided import Decided
from orchestrator.schemas import schema_problems

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

NAME = r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$"


def _duration(text: str) -> str:
    durations.parse(text)
    return text


Timeout = Annotated[str, AfterValidator(_duration), OrExpression]


class SignalWith(With):
    """Which signal, and what happens when it does not come."""

    name: str | None = Field(
        default=None, pattern=NAME, description="The signal's name, fixed text; by default the node's id."
    )
    schema_: dict[str, Any] | None = Field(
        default=None, alias="schema", description="A JSON Schema that the payload is checked against when it is sent."
    )
    timeout: Timeout | None = Field(default=None, description="How long to wait, such as 24h; by default for ever.")
    default: Any = Field(
        default=None, description="The output when the time is over; without it the node fails (SignalTimeout)."
    )


class SignalNode(Decided[SignalWith]):
    """A named, checked, buffered signal."""

    name: ClassVar[str] = "signal"
    With = SignalWith


def name_of(node_id: str, with_: Mapping[str, Any]) -> str:
    """The name of the signal that a node waits for."""
    return str(with_.get("name") or node_id)


def until(with_: Mapping[str, Any], now: datetime) -> datetime | None:
    """When a wait that begins at `now` is given up; None: never."""
    timeout = with_.get("timeout")
    return None if timeout is None else now + durations.parse(timeout)


def schema_of(with_: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of the payload, if there is one."""
    return with_.get("schema")


def signal_problems(with_: Mapping[str, Any], path: str) -> list[Any]:
    """What is wrong with the schema of a signal as it is written."""
    schema = schema_of(with_)
    return schema_problems(schema, f"{path}.schema") if isinstance(schema, dict) else []
