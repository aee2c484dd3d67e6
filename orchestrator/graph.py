"""Who needs whom: cycles, and what lies upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def find_cycle(needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """A cycle in running order, its first node repeated at the end (`a, b, a`: b needs a, a needs b), or nothing.

    Depth-first with a stack of its own: a chain of 500 nodes must not exhaust Python's.
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


def upstream(needs: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """For each node all that must be over before it begins: its needs, theirs, and so on. A cycle does no harm."""
    return {node: _reachable(node, needs) for node in needs}


def _reachable(start: str, needs: Mapping[str, Sequence[str]]) -> frozenset[str]:
    found: set[str] = set()
    pending = list(needs[start])
    while pending:
        node = pending.pop()
        if node in needs and node not in found:
            found.add(node)
            pending.extend(needs[node])
    return frozenset(found)
