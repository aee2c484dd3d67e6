"""docs/rollout-rivals.md: its words are written by people, its tables come from the JSON files in docs/benchmarks/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.benchmarks import pages
from tests.benchmarks.rollout import rival_tables
from tests.benchmarks.rollout.argo import compare

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = pages.DOCS / "rollout-rivals.md"
TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "rollout-argo": compare.as_table,
    "rollout-rivals": rival_tables.scores,
}


def current() -> str:
    """The page as it should be, with the tables of what was published."""
    return pages.rendered(PAGE.read_text(encoding="utf-8"), pages.results(TABLES), TABLES)


def write() -> None:
    """Bring the page up to date."""
    PAGE.write_text(current(), encoding="utf-8")
