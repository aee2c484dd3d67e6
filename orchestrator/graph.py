"""Who needs whom: cycles, and what lies upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def find_cycle(needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """A cycle in running order, its first node repeated at the end (`a, b, a`: b needs a, a needs b), or nothing.

    Depth-first with a stack of its own: a chain of thousands of nodes must not exhaust Python's.
    """
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        on_path: set[str] = set()
        pending = [(start, False)]
        while pending:
            node, leaving = pending.pop()
            if leaving:
                path.pop()
                on_path.discard(node)
                done.add(node)
            elif node in on_path:
                return (node, *reversed(path[path.index(node) :]))
            elif node not in done:
                path.append(node)
                on_path.add(node)
                pending.append((node, True))
                pending.extend((need, False) for need in needs.get(node, ()) if need in needs)
    return ()


class Upstream:
    """For each node all that comes before it: its needs, theirs, and so on. A cycle does no harm.

    A set is an integer with a bit for each node: 10,000 nodes in a row take 12 MB and some milliseconds.
    """

    def __init__(self, needs: Mapping[str, Sequence[str]]) -> None:
        self._bit = {node: index for index, node in enumerate(needs)}
        self._sets: dict[str, int] = {}
        for node in needs:
            self._find(node, needs)

    def of(self, node: str) -> Before:
        """What comes before a node."""
        return Before(self._sets.get(node, 0) & ~(1 << self._bit[node]), self._bit)

    def _find(self, start: str, needs: Mapping[str, Sequence[str]]) -> None:
        pending = [(start, False)]
        entered: set[str] = set()
        while pending:
            node, leaving = pending.pop()
            known = [need for need in needs[node] if need in self._bit]
            if leaving:
                found = 0
                for need in known:
                    found |= self._sets.get(need, 0) | 1 << self._bit[need]
                self._sets[node] = found
            elif node not in self._sets and node not in entered:
                entered.add(node)
                pending.append((node, True))
                pending.extend((need, False) for need in known)


class Before:
    """The nodes that come before one, as a container of ids."""

    __slots__ = ("_bit", "_set")

    def __init__(self, found: int, bit: Mapping[str, int]) -> None:
        self._set, self._bit = found, bit

    def __contains__(self, node: object) -> bool:
        index = self._bit.get(node)  # type: ignore[call-overload]  # what is no id is in no graph
        return index is not None and bool(self._set >> index & 1)
