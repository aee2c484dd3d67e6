"""The flag as the router sees it: read once a second, kept between, so that routing waits for nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from orchestrator.flag import UNREAD, FlagError, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from orchestrator.flag import FlagSnapshot, FlagState, FlagStore

_EVERY = 1.0  # seconds: a flag cleared by hand counts within five

_log = structlog.get_logger(__name__)


class FlagWatcher:
    """Polls: the account may get this one Secret, not watch Secrets."""

    def __init__(self, flags: FlagStore, changed: Callable[[], None], *, every: float = _EVERY) -> None:
        self._flags, self._changed, self._every = flags, changed, every
        self._snapshot: FlagSnapshot | None = None
        self._silent = False

    def state(self, now: datetime) -> FlagState:
        """What the flag means at `now`, by the last answer; V1 before the first one.

        A server that does not answer changes nothing here: the expiry, checked at each call, ends it in time.
        """
        return UNREAD if self._snapshot is None else parse(self._snapshot.values, now)

    async def look(self) -> None:
        """Read once; tells whoever waits for a change."""
        try:
            found = await self._flags.read()
        except FlagError as error:
            if not self._silent:
                _log.warning("the flag cannot be read; the last answer holds until it expires", error=str(error))
            self._silent = True
            return
        self._silent = False
        before, self._snapshot = self._snapshot, found
        if before is None or before.values != found.values:
            _log.info("the flag says", **{key: value or "" for key, value in found.values.as_mapping().items()})
            self._changed()

    async def run(self) -> None:
        """Until cancelled. How long an answer takes is no part of the pause: a look begins each second."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self.look()
            await asyncio.sleep(max(0.0, began + self._every - loop.time()))
