"""Names in a list of a spec: there, sayable, and each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_LONGEST = 100  # characters: names stand in annotations, metrics and Events


def unique(path: str, names: Iterable[str]) -> Iterator[Problem]:
    """A problem for each name that nobody could say or that was there before; `path` is the list's."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not name:
            yield Problem(f"{path}[{index}].name", "is empty")
        elif name != name.strip() or len(name) > _LONGEST:
            yield Problem(
                f"{path}[{index}].name", f"begins or ends with a blank, or is longer than {_LONGEST} characters"
            )
        elif name in seen:
            yield Problem(f"{path}[{index}].name", f"{name!r} is used twice")
        seen.add(name)
