"""Sends letters in the background: no reconcile and no rollback ever waits for a webhook."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from orchestrator_operator.rollout import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator_operator.adapters.webhook import Webhook
    from orchestrator_operator.rollout.acting.letters import Letter
    from orchestrator_operator.specs.rollout import SecretKey

_MOST = 100  # letters that wait; when there are more, the oldest are dropped

_log = structlog.get_logger(__name__)


class Notifier:
    """A queue of letters and the loop that empties it, one letter at a time and in their order."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook
        self._queue: asyncio.Queue[tuple[SecretKey, Letter]] = asyncio.Queue()

    def post(self, where: SecretKey, letters: Iterable[Letter]) -> None:
        """Let them be sent soon; never waits, never raises."""
        for letter in letters:
            if self._queue.qsize() >= _MOST:
                _, dropped = self._queue.get_nowait()
                self._queue.task_done()
                metrics.NOTIFICATIONS.labels("dropped").inc()
                _log.warning("too many messages wait for the webhook: the oldest is dropped", about=dropped.about)
            self._queue.put_nowait((where, letter))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            where, letter = await self._queue.get()
            try:
                trouble = await self._webhook.send(where.secret, where.key, letter.body)
            except Exception as error:  # noqa: BLE001 - a defect in sending must not end all sending; its words may bear the URL
                trouble = type(error).__name__
            finally:
                self._queue.task_done()
            metrics.NOTIFICATIONS.labels("failed" if trouble else "sent").inc()
            if trouble:
                _log.warning("a message for the webhook was not taken", about=letter.about, why=trouble)
            else:
                _log.info("the webhook was told", about=letter.about)

    async def drained(self) -> None:
        """Until every letter was sent or given up."""
        await self._queue.join()

    async def aclose(self) -> None:
        await self._webhook.aclose()
