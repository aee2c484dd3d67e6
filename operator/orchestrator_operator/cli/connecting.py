"""How commands reach a cluster: whose login, which context, which namespace. By kubectl's own rules."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from orchestrator_operator.settings import variable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator_operator.adapters.kubernetes import Kubernetes

R = TypeVar("R")


def _of_the_context(context: typer.Context, namespace: str) -> str:
    if namespace or context.resilient_parsing:
        return namespace
    from orchestrator_operator.adapters.kubeconfig import current_namespace  # noqa: PLC0415 - see `ask`

    return current_namespace(context.params.get("context"))


Context = Annotated[
    str | None,
    typer.Option("--context", help="A context of the kubeconfig, by default the current one.", is_eager=True),
]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        envvar=variable("namespace"),
        callback=_of_the_context,
        help="By default the context's namespace.",
        show_default=False,
    ),
]


def ask(question: Callable[[Kubernetes], Awaitable[R]], *, agent: str, context: str | None = None) -> R:
    """The answer to a question to the cluster that KUBECONFIG, and the context, name. Raises KubernetesError.

    The API server notes `agent` as the writer of each field.
    """
    # Imported here: the client takes a second to import, which `--help` should not pay.
    from orchestrator_operator.adapters.kubernetes import Kubernetes  # noqa: PLC0415 - see above

    async def asked() -> R:
        kubernetes = await Kubernetes.connect(context=context, agent=agent)
        try:
            return await question(kubernetes)
        finally:
            await kubernetes.aclose()

    return asyncio.run(asked())
