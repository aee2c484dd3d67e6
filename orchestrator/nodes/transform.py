"""`transform`: its output is its `with`, evaluated. No input, no output, nothing that could fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict

from orchestrator.nodes.base import NodeType, StepContext, With

if TYPE_CHECKING:
    from collections.abc import Mapping


class TransformWith(With):
    """Any map."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class TransformNode(NodeType[TransformWith]):
    """Shapes data between two nodes."""

    name: ClassVar[str] = "transform"
    With = TransformWith
    instant = True

    async def run(self, with_: Mapping[str, Any], context: StepContext) -> Any:  # noqa: ARG002 - the port's signature
        return dict(with_)
