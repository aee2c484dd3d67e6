"""The pages with measured tables: their words are written by people, the tables come from JSON in docs/benchmarks/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks import report
from tests.benchmarks.cluster import tables as cluster_tables
from tests.benchmarks.rollout import clearing, counters, our_tables, rival_tables, weights
from tests.benchmarks.rollout.argo import compare as argo_tables

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parents[2] / "docs"
TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "side-by-side": report.side_by_side,
    "size": report.sizes,
    "idle": report.waiting,
    "queries": report.monitoring,
    "scaling": report.processes,
    "rollout": our_tables.scores,
    "clearing": clearing.as_table,
    "cluster": cluster_tables.cluster,
    "demand": cluster_tables.demand,
    "rollout-counters": counters.as_table,
    "rollout-weights": weights.as_table,
    "rollout-argo": argo_tables.as_table,
    "rollout-rivals": rival_tables.scores,
}
PAGES = {
    DOCS / "benchmarks.md": ("side-by-side", "size", "idle", "queries", "scaling", "cluster", "clearing"),
    DOCS / "scaling.md": ("demand",),
    DOCS / "rollout-evidence.md": ("rollout-counters", "rollout-weights", "rollout"),
    DOCS / "rollout-rivals.md": ("rollout-argo", "rollout-rivals"),
}
_MEASURED_BY = {"demand": "cluster"}  # tables that are made of another command's result
_BEGIN = "<!-- {name}: made by `python -m tests.benchmarks page` -->"
_END = "<!-- end of {name} -->"


def rendered(page: str, results: dict[str, dict[str, Any]]) -> str:
    """The page with the tables of these results; a block whose result is not there stays as it is."""
    for name, result in results.items():
        begin, end = _BEGIN.format(name=name), _END.format(name=name)
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"{begin!r} and {end!r} must stand there once each")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n\n{TABLES[name](result)}\n{end}{rest.partition(end)[2]}"
    return page


def results(page: Path) -> dict[str, dict[str, Any]]:
    """What was measured and is published on a page, by the name of its command."""
    files = {name: DOCS / "benchmarks" / f"{_MEASURED_BY.get(name, name)}.json" for name in PAGES[page]}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}


def write() -> None:
    """Bring the pages up to date."""
    for page in PAGES:
        page.write_text(rendered(page.read_text(encoding="utf-8"), results(page)), encoding="utf-8")
