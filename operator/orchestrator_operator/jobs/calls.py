"""How the runtime asks a cluster that may be away, and what it makes of a no."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from orchestrator.errors import StepError
from orchestrator_operator.adapters.kubernetes import KubernetesError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = structlog.get_logger(__name__)
_INVALID: Final = (400, 422)  # what the API server never accepts
T = TypeVar("T")


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """Ask until the API server answers: that it is away is no failure of a step.

    Raises StepError `ContainerRefused` for a no. Quotas and rights change, so only what is not valid is final.
    """
    while True:
        try:
            return await call()
        except Unavailable as error:
            _log.warning("waiting for the API server", error=str(error))
            await pause(1.0)
        except KubernetesError as error:
            raise StepError("ContainerRefused", str(error), retryable=error.status not in _INVALID) from error


async def pause(seconds: float) -> None:
    """About so long: many that wait must not ask at once."""
    await asyncio.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, hides nothing
