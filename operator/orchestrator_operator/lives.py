"""From SIGTERM to a watch that ends by itself: what ends a life of the operator, and when the next one begins.

kopf ends all watching, and with it every task that began after its own start, at answers that an API server, or a proxy
before it, gives now and then: an error within the stream, 410 Gone as a status, a page of HTML. A process that ended
each time would be restarted later and later; so everything is closed, opened and compared anew in the same process.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import structlog

from orchestrator.cli.processes import signals_cancel
from orchestrator_operator.watch import WatchEnded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_MOST = 5  # lives in a row, each of them short: then a new process is no worse
_LONG = 300.0  # seconds of a life that count as good

_log = structlog.get_logger(__name__)


async def live(life: Callable[[asyncio.Event], Awaitable[None]], *, pause: float = 1.0) -> None:
    """Until a life comes to its end as it should, or SIGTERM or SIGINT end it: those set the event that it is given, or
    cancel it before it has handlers of its own. Raises WatchEnded after several short lives.
    """
    loop, stop, failed = asyncio.get_running_loop(), asyncio.Event(), 0
    while True:
        with signals_cancel():
            await asyncio.sleep(pause * failed)
            began = loop.time()
            try:
                await life(stop)
            except WatchEnded as error:
                failed = 1 if loop.time() - began > _LONG else failed + 1
                if stop.is_set():
                    return
                if failed == _MOST:
                    raise
                _log.warning("the watch ended by itself: everything begins anew", times=failed, error=str(error))
                continue
        return


def end_within(seconds: float) -> None:
    """Whatever hangs then (a connection that nobody answers, a thread that waits for it), this process ends in time."""
    last = threading.Timer(seconds, os._exit, (1,))
    last.daemon = True
    last.start()
