"""Runs one attempt of a node, whatever its type: within its time, and with every failure as a StepError."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from orchestrator.durations import show
from orchestrator.errors import StepError
from orchestrator.functions import REGISTRY, Functions
from orchestrator.jsonvalues import first_problem
from orchestrator.nodes.addresses import SETTING, AllowList
from orchestrator.nodes.http import HttpNode
from orchestrator.nodes.python import PythonNode
from orchestrator.nodes.registry import NOT_BUILT_YET
from orchestrator.nodes.transform import TransformNode
from orchestrator.nodes.wait import WaitNode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from orchestrator.model import Node
    from orchestrator.nodes.base import NodeType, StepContext

_MESSAGE = 2000  # characters of a failure's message that are kept


class NodeRunner:
    """What a worker shares among all its steps: connections, threads, functions. Close it with `aclose`."""

    def __init__(self, *, allowed: AllowList | None = None, functions: Functions = REGISTRY) -> None:
        nodes: tuple[NodeType[Any], ...] = (HttpNode(allowed), PythonNode(functions), TransformNode(), WaitNode())
        self._nodes = {node.name: node for node in nodes}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, functions: Functions = REGISTRY) -> NodeRunner:
        """As the variable ORCHESTRATOR_HTTP_ALLOW says; raises InvalidInput if it is malformed."""
        return cls(allowed=AllowList.parse(environment.get(SETTING, "")), functions=functions)

    async def run(self, node: Node, evaluated_with: Mapping[str, Any], context: StepContext) -> Any:
        """The output of one attempt: JSON that a store can keep. Raises StepError, and CancelledError if cancelled."""
        try:
            async with asyncio.timeout(context.timeout.total_seconds()) as limit:
                output = await self._of(node.type).run(evaluated_with, context)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled this attempt: the step did it to itself, and has failed like any other.
            raise StepError("Cancelled", "the step cancelled itself", retryable=node.type == PythonNode.name) from error
        except StepError as error:
            raise StepError(error.kind, _storable(error.message), retryable=error.retryable) from error
        except TimeoutError as error:
            message = f"took longer than its timeout of {show(context.timeout)}" if limit.expired() else str(error)
            raise StepError("Timeout", _storable(message), retryable=True) from error
        except (Exception, SystemExit) as error:
            message = str(error) or type(error).__name__
            raise StepError(type(error).__name__, _storable(message), retryable=node.type == PythonNode.name) from error
        if problem := first_problem(output, "output", int64=False):
            raise StepError("InvalidOutput", f"{problem}; no store could keep it", retryable=False)
        return output

    async def aclose(self) -> None:
        """Give back connections and threads; a plain function that still runs in its thread is not waited for."""
        for node in self._nodes.values():
            await node.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _of(self, type_: str) -> NodeType[Any]:
        if type_ not in self._nodes:
            known = "is not built yet" if type_ in NOT_BUILT_YET else "is unknown to this version"
            raise StepError("UnknownNodeType", f"node type {type_!r} {known}", retryable=False)
        return self._nodes[type_]


def _storable(message: str) -> str:
    """A message without what a database refuses, and no longer than a status can bear."""
    return message.encode(errors="replace").decode().replace("\x00", "\ufffd")[:_MESSAGE]
