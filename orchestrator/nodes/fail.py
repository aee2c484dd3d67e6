"""`fail`: ends the execution on purpose, with a message of the author's."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from orchestrator.nodes.base import OrExpression, Text, With
from orchestrator.nodes.decided import Decided


class FailWith(With):
    """What the failure says."""

    message: Text = Field(description="Why, for people.")
    kind: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]{0,63}$"), OrExpression] = Field(
        default="Failed", description="A stable word for dashboards and rules, such as OutOfStock."
    )


class FailNode(Decided[FailWith]):
    """Fails at once; nothing retries it."""

    name: ClassVar[str] = "fail"
    With = FailWith
