"""Runs one attempt of a node, whatever its type: within its time, masked, and with every failure as a StepError."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from orchestrator.durations import show
from orchestrator.errors import StepError
from orchestrator.functions import REGISTRY, Functions
from orchestrator.jsonvalues import first_problem
from orchestrator.masks import MASKS, Masks
from orchestrator.nodes.container import ContainerNode, ContainerRuntime
from orchestrator.nodes.http import HttpNode
from orchestrator.nodes.python import PythonNode
from orchestrator.nodes.threads import StillQueued
from orchestrator.nodes.transform import TransformNode
from orchestrator.nodes.wait import WaitNode
from orchestrator.secrets import Secrets, SecretSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from orchestrator.model import Node
    from orchestrator.nodes.addresses import AllowList
    from orchestrator.nodes.base import NodeType, StepContext

_MESSAGE = 2000  # characters of a failure's message that are kept


class NodeRunner:
    """What a worker shares among all its steps: connections, threads, functions, secrets. Close it with `aclose`."""

    def __init__(
        self,
        *,
        allowed: AllowList | None = None,
        functions: Functions = REGISTRY,
        secrets: SecretSource | None = None,
        containers: ContainerRuntime | None = None,
        masks: Masks = MASKS,
    ) -> None:
        self._masks = masks
        read = Secrets(secrets, masks)
        self._containers = ContainerNode(containers)
        nodes: list[NodeType[Any]] = [
            self._containers,
            HttpNode(allowed, read),
            PythonNode(functions, read),
            TransformNode(),
            WaitNode(),
        ]
        self._nodes = {node.name: node for node in nodes}

    async def run(self, node: Node, evaluated_with: Mapping[str, Any], context: StepContext) -> Any:
        """The output of one attempt: JSON that a store can keep, with `***` for every secret.

        Raises StepError, and CancelledError if cancelled.
        """
        try:
            of = self._of(node.type)
            if of.instant or of.keeps_time:
                output = await of.run(evaluated_with, context)
            else:
                output = await _in_time(of, evaluated_with, context)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled this attempt: the step did it to itself, and has failed like any other.
            raise StepError("Cancelled", "the step cancelled itself", retryable=node.type == PythonNode.name) from error
        except (Exception, SystemExit) as error:
            raise self._failure(error, node) from error
        if not of.checked and (problem := first_problem(output, "output", int64=False)):
            raise self._failure(StepError("InvalidOutput", f"{problem}; no store could keep it", retryable=False), node)
        return self._masks.json(output)

    def stop(self, idempotency_key: str) -> None:
        """Let an attempt end that would otherwise go on without us: see ContainerRuntime."""
        self._containers.stop(idempotency_key)

    async def settle(self, namespace: str, execution_id: str) -> None:
        """Return once nothing of an execution goes on outside of this process: see ContainerRuntime."""
        await self._containers.settle(namespace, execution_id)

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
            raise StepError("UnknownNodeType", f"node type {type_!r} is unknown to this version", retryable=False)
        return self._nodes[type_]

    def _failure(self, error: BaseException, node: Node) -> StepError:
        """Any error as a failure that can be stored; only a python function's may pass by itself."""
        if isinstance(error, StepError):
            return StepError(
                self._masks.text(error.kind),
                self._storable(error.message),
                retryable=error.retryable,
                status=error.status,
                retry_after=error.retry_after,
            )
        kind = "Timeout" if isinstance(error, TimeoutError) else type(error).__name__
        retryable = kind == "Timeout" or node.type == PythonNode.name
        return StepError(self._masks.text(kind), self._storable(str(error) or kind), retryable=retryable)

    def _storable(self, message: str) -> str:
        """A message without secrets and what a database refuses, and no longer than a status can bear."""
        return self._masks.text(message).encode(errors="replace").decode().replace("\x00", "\ufffd")[:_MESSAGE]


async def _in_time(of: NodeType[Any], with_: Mapping[str, Any], context: StepContext) -> Any:
    try:
        async with asyncio.timeout(context.timeout.total_seconds()) as limit:
            return await of.run(with_, context)
    except TimeoutError as error:
        if not limit.expired():
            raise  # the step's own
        message = f"took longer than its timeout of {show(context.timeout)}"
        cause = error.__cause__ and error.__cause__.__cause__
        if isinstance(cause, StillQueued):
            raise StepError("NoThread", f"{message}: {cause}", retryable=True) from error
        raise StepError("Timeout", message, retryable=True) from error
