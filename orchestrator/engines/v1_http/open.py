"""From settings to a running V1 behind HTTP: what it needs is opened, checked, and closed again."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from orchestrator.engines.v1_http.callback import CallbackServer
from orchestrator.engines.v1_http.credentials import CallbackTokens
from orchestrator.engines.v1_http.endpoint import Endpoint
from orchestrator.engines.v1_http.engine import V1Http
from orchestrator.engines.v1_http.requests import Requests
from orchestrator.engines.v1_http.settings import Outcome
from orchestrator.engines.v1_http.table import LegacyTable
from orchestrator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from datetime import timedelta

    from orchestrator.clock import Clock
    from orchestrator.engines.v1_http.settings import V1HttpSettings
    from orchestrator.store.sql.watched import WatchStore

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_v1_http(
    store: WatchStore, settings: V1HttpSettings, clock: Clock, lease: timedelta
) -> AsyncIterator[V1Http]:
    """The worker's V1, with what learns its outcomes beside it, until the block ends: after the worker, before the
    store. Raises InvalidInput for a setting that turns out to be wrong, OrchestratorError for a port that is taken.
    """
    async with AsyncExitStack() as stack:
        endpoint = Endpoint(settings)
        stack.push_async_callback(endpoint.aclose)
        secret = settings.callback_secret_file
        tokens = CallbackTokens(secret) if settings.outcome is Outcome.CALLBACK and secret else None
        table = LegacyTable(settings) if settings.outcome is Outcome.TABLE else None
        v1 = V1Http(store, Requests(endpoint, settings, tokens), settings, clock, table)
        stack.push_async_callback(v1.aclose)
        if tokens is not None and settings.callback_listen:
            server = CallbackServer(tokens, settings.statuses, v1.learned)
            await stack.enter_async_context(server.listening(settings.callback_listen))
        if table is not None:
            stack.push_async_callback(table.aclose)
            try:
                await table.check()
            except StoreUnavailable as error:
                log.warning("the legacy table is not there yet; it is looked for again", error=str(error))
            await stack.enter_async_context(_beside(table.follow(v1.watched, v1.learned)))
        await stack.enter_async_context(_beside(v1.watch_on_for_ever(lease)))
        yield v1


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
