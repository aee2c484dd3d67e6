"""The node types that no worker runs: the engine decides them from the history alone (see orchestrator/decide/)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.nodes.base import NodeType, StepContext, With

if TYPE_CHECKING:
    from collections.abc import Mapping

WithT = TypeVar("WithT", bound=With)


class Decided(NodeType[WithT]):
    """A type whose beginning and end are decisions."""

    async def run(self, with_: Mapping[str, Any], context: StepContext) -> Any:
        raise NotImplementedError(f"{context.node_id}: the engine decides a {self.name}, and never runs it")
