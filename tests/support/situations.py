"""Executions on the bench, brought to where a test wants them, and what is seen of them from outside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orchestrator.cli.executions.showing import Shown, look
from orchestrator.errors import StepError
from orchestrator.fold import fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.model import Execution
    from orchestrator.nodes.base import StepContext
    from orchestrator.testing import Bench


def node(
    id_: str, *needs: str, type_: str = "http", with_: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """A node; an `http` one calls a service that a stub stands for."""
    default = {"url": "http://service/"} if type_ == "http" else {}
    return {"id": id_, "type": type_, "needs": list(needs), "with": with_ if with_ is not None else default, **fields}


def undo(**fields: Any) -> dict[str, Any]:
    return {"type": "http", "with": {"url": "http://service/undo"}, **fields}


def every(seconds: int, attempts: int = 5) -> dict[str, Any]:
    """A retry whose moments are known."""
    return {"maxAttempts": attempts, "initialInterval": f"{seconds}s", "multiplier": 1, "jitter": "none"}


def ok(_with: Any, _context: StepContext) -> Any:
    return {"status": 200}


def broken(status: int) -> Callable[[Any, StepContext], Any]:
    """A service that answers so."""

    def answer(_with: Any, _context: StepContext) -> Any:
        raise StepError("HttpStatus", f"GET http://service/ gave {status}", retryable=status >= 500, status=status)

    return answer


async def hangs(_with: Any, _context: StepContext) -> Any:
    await asyncio.Event().wait()


def seen(bench: Bench, execution: str) -> Shown:
    """What `orchestrator executions show` would make of it now."""
    return asyncio.run(look(bench.store, execution, bench.clock.now()))


def why(bench: Bench, execution: str) -> str:
    return seen(bench, execution).why


def state(bench: Bench, execution: str) -> Execution:
    return fold(execution, asyncio.run(bench.store.events(execution)))
