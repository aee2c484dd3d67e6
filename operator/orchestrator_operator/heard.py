"""Whether the watch still tells us everything: what a list shows, it must have told by the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Heard:
    """The newest resourceVersion of each object that the watch told, and what it owed us at the last comparison.

    A quiet cluster has nothing to tell, so the age of the last event says nothing; a watch whose connection is half
    dead looks the same. The lists of the periodic comparison tell them apart.
    """

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._owed: dict[str, str | None] = {}

    def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """An event of the watch, whatever its type."""
        meta = body["metadata"]
        if kind == "DELETED":
            self._told.pop(meta["uid"], None)
        else:
            self._told[meta["uid"]] = meta["resourceVersion"]

    def silent(self, listed: Iterable[Mapping[str, Any]]) -> list[str]:
        """The objects of whose changes the watch has told nothing since the comparison before; empty is healthy.

        Versions are only compared for equality. An object may have changed a moment ago, so the first time it is owed.
        """
        behind = {
            body["metadata"]["uid"]: (body["metadata"]["name"], self._told.get(body["metadata"]["uid"]))
            for body in listed
            if self._told.get(body["metadata"]["uid"]) != body["metadata"]["resourceVersion"]
        }
        names = [name for uid, (name, told) in behind.items() if uid in self._owed and self._owed[uid] == told]
        self._owed = {uid: told for uid, (_, told) in behind.items()}
        return names
