"""Which executions the store knows: many handlers ask at the same time, and share one question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.journal import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.store.port import Store


class Lookups:
    """Asks for all uids that came up while the last question was on its way."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Without patience: whoever asks is tried again by the guard, with a backoff of its own.
        self._questions: GroupCommit[str, bool] = GroupCommit(self._ask, patience=0.0)

    async def known(self, execution_id: str) -> bool:
        """Whether there is such an execution now. Raises StoreError."""
        return await self._questions.put(execution_id)

    async def _ask(self, ids: Sequence[str]) -> Sequence[bool]:
        known = await self._store.known(ids)
        return [one in known for one in ids]
