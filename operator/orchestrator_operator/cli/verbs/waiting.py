"""Wait until the operator has answered, for a while, and say what is waited for."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import typer

from orchestrator.errors import OrchestratorError
from orchestrator_operator.specs import EXECUTIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from orchestrator_operator.adapters.kubernetes import Kubernetes

_TELL: Final = 5.0  # seconds between two lines of progress, and before the first


async def until(
    kubernetes: Kubernetes,
    namespace: str,
    name: str,
    holds: Callable[[dict[str, Any]], bool],
    patience: timedelta,
    what: str,
) -> dict[str, Any] | None:
    """The Execution when `holds` holds of it; None: it did not in time. Raises OrchestratorError when it is deleted."""
    from orchestrator_operator.adapters.following import follow  # noqa: PLC0415 - see connecting.ask
    from orchestrator_operator.adapters.kubernetes import NotFound  # noqa: PLC0415 - the same

    telling = asyncio.create_task(_tell(what))
    try:
        async with (
            asyncio.timeout(patience.total_seconds()),
            aclosing(follow(kubernetes, EXECUTIONS, namespace, name)) as changes,
        ):
            async for body in changes:
                if holds(body):
                    return body
    except TimeoutError:
        return None
    except NotFound as error:
        raise OrchestratorError(f"{name} was deleted meanwhile") from error
    finally:
        telling.cancel()
    return None


async def _tell(what: str) -> None:
    waited = 0.0
    while True:
        await asyncio.sleep(_TELL)
        waited += _TELL
        typer.echo(f"waiting {what} ({waited:.0f} s)", err=True)
