"""Names in a list of a spec: there, and each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def unique(path: str, names: Iterable[str]) -> Iterator[Problem]:
    """A problem for each name that is empty or was there before; `path` is the list's."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not name:
            yield Problem(f"{path}[{index}].name", "is empty")
        elif name in seen:
            yield Problem(f"{path}[{index}].name", f"{name!r} is used twice")
        seen.add(name)
