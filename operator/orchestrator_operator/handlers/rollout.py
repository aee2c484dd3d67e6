"""EngineRollouts: what the watch saw of them, and one loop that reconciles each when it is due."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator.flag import CLEAR, FlagError, FlagSnapshot, parse
from orchestrator_operator.adapters.flag import SecretFlagStore
from orchestrator_operator.routing import RoutingFacts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

_log = structlog.get_logger(__name__)


class RolloutHandler:
    """INTERIM until the controller is there: reads the flag, owns nothing."""

    def __init__(self, flags: SecretFlagStore) -> None:
        self._flags = flags
        self._snapshot = FlagSnapshot(CLEAR)

    @classmethod
    def build(cls, settings: Any, *, store: Any, kubernetes: Any, clock: Any) -> RolloutHandler:
        return cls(SecretFlagStore(kubernetes, settings.namespace, settings.flag_secret))

    async def handle(self, body: Mapping[str, Any]) -> None: ...

    async def gone(self, body: Mapping[str, Any]) -> None: ...

    def facts(self, now: datetime) -> RoutingFacts:
        return RoutingFacts(parse(self._snapshot.values, now))

    async def start(self) -> None:
        self._snapshot = await self._flags.read()

    def loops(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {"flag": self._run}

    async def aclose(self) -> None: ...

    async def _run(self) -> None:
        while True:
            try:
                self._snapshot = await self._flags.read()
            except FlagError as error:
                _log.warning("flag", error=str(error))
            await asyncio.sleep(1)
