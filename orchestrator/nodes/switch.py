"""`switch`: the first case that is true decides which of the nodes behind it run; the others are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.nodes.base import With
from orchestrator.nodes.decided import Decided

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Case(BaseModel):
    """One way out."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    when: str = Field(description="One ${ … } that gives true or false.")
    to: list[str] = Field(min_length=1, description="The nodes that run then; each of them needs the switch.")


class SwitchWith(With):
    """The ways out, tried in their order."""

    cases: list[Case] = Field(min_length=1, description="Tried in this order; the first that is true is taken.")
    default: list[str] = Field(default_factory=list, description="The nodes that run when no case is true.")


class SwitchNode(Decided[SwitchWith]):
    """Decides between branches; its output is `{case, taken}`: the case's index (null: the default) and its nodes."""

    name: ClassVar[str] = "switch"
    With = SwitchWith


def targets(with_: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every node that a switch names, with its place in `with`."""
    for index, case in enumerate(with_["cases"]):
        for position, node in enumerate(case["to"]):
            yield f"cases[{index}].to[{position}]", node
    for position, node in enumerate(with_.get("default", ())):
        yield f"default[{position}]", node
