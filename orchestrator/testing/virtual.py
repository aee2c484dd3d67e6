"""An event loop whose time passes only while nothing can run: a sleep of days costs nothing."""

from __future__ import annotations

import asyncio
import math
import selectors
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_MICROSECOND = 1_000_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """Asks `idle` what to do whenever nothing can run.

    `idle` is told in how many microseconds the next timer of the loop is due (None: there is none). It lets time pass
    by `skip`, makes something ready, or raises. What asks for another thread is done at once and in this one, so that
    nothing happens behind the loop's back; what waits for the network waits for ever.
    """

    def __init__(self, idle: Callable[[int | None], None]) -> None:
        self._passed = 0  # microseconds
        super().__init__(_Selector(idle))

    def time(self) -> float:
        return self._passed / _MICROSECOND

    def skip(self, microseconds: int) -> None:
        """Let time pass."""
        self._passed += microseconds

    def run_in_executor(  # type: ignore[override]  # a stricter signature than the base class's overloads
        self,
        executor: Any,  # noqa: ARG002 - the base class's parameter: every executor is this thread
        func: Callable[..., Any],
        *args: Any,
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
            future.set_exception(error)
        return future


class _Selector(selectors.SelectSelector):
    """Never waits."""

    def __init__(self, idle: Callable[[int | None], None]) -> None:
        super().__init__()
        self._idle = idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0):
            # Rounded up: a timer that is reached a little early would be looked at again and again.
            self._idle(None if timeout is None else math.ceil(timeout * _MICROSECOND))
        return ready
