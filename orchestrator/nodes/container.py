"""`container`: the port of a runtime that runs images. A worker without a runtime says so.

A Secret in `env` stays a reference all the way: the runtime hands it on to its cluster, and no worker sees the value.

A container goes on without the worker that began it: who takes the execution over finds it by its name. So nobody
stops one by being cancelled; `stop` and `settle` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from orchestrator.errors import StepError
from orchestrator.nodes.base import NodeType, StepContext
from orchestrator.nodes.container_with import ContainerWith

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTING = "ORCHESTRATOR_CONTAINERS"
OFF = f"containers are off here; set {SETTING}=kubernetes for the operator and its workers"


class ContainerRuntime(Protocol):
    """What runs containers: a cluster's adapter, given to the NodeRunner."""

    async def run(self, spec: ContainerWith, context: StepContext) -> Any:
        """Run one attempt to its end and return its output, which must be JSON.

        An attempt that begins again after a crash has the same `context.idempotency_key` and number: a runtime that
        finds its container of before goes on waiting for that one. It keeps to `context.timeout` itself, counted from
        the container's beginning, whoever waits for it. When cancelled it leaves the container alone. Raises StepError:
        `ContainerFailed` (with the exit code in its message) and others of its own.
        """

    def stop(self, idempotency_key: str) -> None:
        """Nobody wants this attempt any more: its `run` removes the container and raises StepError `Stopped`."""

    async def settle(self, namespace: str, execution_id: str) -> None:
        """Return once no container of this execution runs, whoever began it: those that do are removed."""

    async def aclose(self) -> None:
        """Give back what was opened; containers go on."""


class ContainerNode(NodeType[ContainerWith]):
    """Hands a checked `with` to the runtime."""

    name: ClassVar[str] = "container"
    With = ContainerWith
    keeps_time = True

    def __init__(self, runtime: ContainerRuntime | None = None) -> None:
        self._runtime = runtime

    async def run(self, with_: Mapping[str, Any], context: StepContext) -> Any:
        if self._runtime is None:
            raise StepError("ContainersOff", OFF, retryable=True)  # another worker may have them
        return await self._runtime.run(self.parse(with_), context)

    def stop(self, idempotency_key: str) -> None:
        """See ContainerRuntime."""
        if self._runtime is not None:
            self._runtime.stop(idempotency_key)

    async def settle(self, namespace: str, execution_id: str) -> None:
        """See ContainerRuntime. Without one there is nothing that could run."""
        if self._runtime is not None:
            await self._runtime.settle(namespace, execution_id)

    async def aclose(self) -> None:
        if self._runtime is not None:
            await self._runtime.aclose()
