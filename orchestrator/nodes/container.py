"""`container`: the port of a runtime that runs images. Without a runtime the type is refused by name.

A Secret in `env` stays a reference all the way: the runtime hands it on to its cluster, and no worker sees the value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

from pydantic import AfterValidator, Field

from orchestrator.nodes.base import NodeType, OrExpression, StepContext, Text, With
from orchestrator.nodes.references import TextOrSecret  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("is no name of an environment variable")
    return name


def _quantity(text: str) -> str:
    if not _QUANTITY.fullmatch(text):
        raise ValueError("must be a Kubernetes quantity, such as 500m or 256Mi")
    return text


Quantity = Annotated[str, AfterValidator(_quantity), OrExpression]


class Resources(With):
    """What the container gets, and cannot exceed."""

    cpu: Quantity | None = Field(default=None, description="Processors, such as 500m.")
    memory: Quantity | None = Field(default=None, description="Memory, such as 256Mi.")


class ContainerWith(With):
    """Which image, and what it is given."""

    image: Annotated[str, Field(min_length=1), OrExpression] = Field(description="The image, with tag or digest.")
    command: list[Text] | None = Field(default=None, description="Instead of the image's entrypoint.")
    args: list[Text] | None = Field(default=None, description="The arguments.")
    env: dict[Annotated[str, AfterValidator(_variable)], TextOrSecret] = Field(
        default_factory=dict, description="Environment variables: text, or {secret, key}."
    )
    resources: Resources = Field(default_factory=Resources, description="Processors and memory.")


class ContainerRuntime(Protocol):
    """What runs containers: a cluster's adapter, given to the NodeRunner."""

    async def run(self, spec: ContainerWith, context: StepContext) -> Any:
        """Run one attempt to its end and return its output, which must be JSON.

        An attempt that begins again after a crash has the same `context.idempotency_key`; a runtime that finds its
        container of before goes on waiting for that one. When cancelled it removes the container. Raises StepError:
        `ContainerFailed` (with the exit code in its message) and others of its own.
        """

    async def aclose(self) -> None:
        """Give back what was opened."""


class ContainerNode(NodeType[ContainerWith]):
    """Hands a checked `with` to the runtime."""

    name: ClassVar[str] = "container"
    With = ContainerWith

    def __init__(self, runtime: ContainerRuntime) -> None:
        self._runtime = runtime

    async def run(self, with_: Mapping[str, Any], context: StepContext) -> Any:
        return await self._runtime.run(self.parse(with_), context)

    async def aclose(self) -> None:
        await self._runtime.aclose()
