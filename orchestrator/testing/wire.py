"""A worker's connection to its store, which a test can cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from orchestrator.errors import StoreUnavailable

if TYPE_CHECKING:
    from orchestrator.store.port import Store


class Wire:
    """Passes every call on until it is cut; from then on every call fails, for good."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cut = False

    @property
    def store(self) -> Store:
        """What the worker is given."""
        return cast("Store", self)

    def cut(self) -> None:
        self._cut = True

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self._cut:
                raise StoreUnavailable("this worker is dead")
            return await method(*args, **kwargs)

        return call
