"""How commands reach a cluster: whose login, which context, which namespace. By kubectl's own rules."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from orchestrator_operator.settings import variable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.specs import Resource

R = TypeVar("R")

_PATIENCE: Final = 3.0  # seconds that a completion may take


def _of_the_context(context: typer.Context, namespace: str) -> str:
    if namespace or context.resilient_parsing:
        return namespace
    return _current(context)


def _current(context: typer.Context) -> str:
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


def ask(question: Callable[[Kubernetes], Awaitable[R]], *, agent: str, context: str | None = None, **options: Any) -> R:
    """The answer to a question to the cluster that KUBECONFIG, and the context, name. Raises KubernetesError.

    The API server notes `agent` as the writer of each field; `options` are the client's, such as its timeout.
    """
    # Imported here: the client takes a second to import, which `--help` should not pay.
    from orchestrator_operator.adapters.kubernetes import Kubernetes  # noqa: PLC0415 - see above

    async def asked() -> R:
        kubernetes = await Kubernetes.connect(context=context, agent=agent, **options)
        try:
            return await question(kubernetes)
        finally:
            await kubernetes.aclose()

    return asyncio.run(asked())


def names_of(resource: Resource) -> Callable[[typer.Context, str], list[str]]:
    """Completes the name of an object, in the namespace and context that are typed already."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        typed = context.params.get("context")
        try:
            namespace = context.params.get("namespace") or _current(context)
            found = ask(
                lambda kubernetes: kubernetes.list(resource, namespace),
                agent="orchestrator-completion",
                context=typed,
                timeout=_PATIENCE,
                attempts=1,
            )
        except Exception:  # noqa: BLE001 - whoever presses Tab reads no errors
            return []
        names = (str(body["metadata"]["name"]) for body in found)
        return [name for name in names if name.startswith(incomplete)]

    return complete
