"""What the commands of `orchestrator rollout` share: their arguments, and how they reach the cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from orchestrator_operator.settings import variable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator_operator.adapters.kubernetes import Kubernetes

Namespace = Annotated[
    str, typer.Option("--namespace", "-n", envvar=variable("namespace"), help="The rollout's namespace.")
]
Name = Annotated[str, typer.Argument(help="The EngineRollout's name.")]
R = TypeVar("R")


def ask(question: Callable[[Kubernetes], Awaitable[R]]) -> R:
    """The answer to a question to the cluster that KUBECONFIG names."""
    # Imported here: the client takes a second to import, which `--help` should not pay.
    from orchestrator_operator.adapters.kubernetes import Kubernetes  # noqa: PLC0415 - see above

    async def asked() -> R:
        kubernetes = await Kubernetes.connect(agent="orchestrator-rollout")
        try:
            return await question(kubernetes)
        finally:
            await kubernetes.aclose()

    return asyncio.run(asked())
