"""docs/benchmarks.md: its words are written by people, its tables come from the JSON files in docs/benchmarks/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks import report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Tables = Mapping[str, Callable[[dict[str, Any]], str]]

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "benchmarks.md"
TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "side-by-side": report.side_by_side,
    "size": report.sizes,
    "idle": report.waiting,
    "queries": report.monitoring,
    "scaling": report.processes,
}
_BEGIN = "<!-- {name}: made by `python -m tests.benchmarks page` -->"
_END = "<!-- end of {name} -->"


def rendered(page: str, results: dict[str, dict[str, Any]], tables: Tables = TABLES) -> str:
    """The page with the tables of these results; a block whose result is not there stays as it is."""
    for name, result in results.items():
        begin, end = _BEGIN.format(name=name), _END.format(name=name)
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"the page: {begin!r} and {end!r} must stand there once each")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n\n{tables[name](result)}\n{end}{rest.partition(end)[2]}"
    return page


def results(tables: Iterable[str] = TABLES) -> dict[str, dict[str, Any]]:
    """What was measured and published, by the name of its command."""
    files = {name: DOCS / "benchmarks" / f"{name}.json" for name in tables}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}


def write() -> None:
    """Bring the page up to date."""
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), results()), encoding="utf-8")
