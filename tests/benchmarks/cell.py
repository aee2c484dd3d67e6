"""One contender, one workload, one number of executions at once."""

from __future__ import annotations

import cProfile
import importlib
import pstats
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import child
from tests.benchmarks.load import Contender, Window, measure

_GRACE = 60.0  # seconds that a load may take beside its window: start, migrations

_CONTENDERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ours": ("ours", "Ours", {}),
    "ours-transform": ("ours", "Ours", {}),
    "ours-sqlite": ("ours", "Ours", {}),
    "group-commit": ("limit_group_commit", "BareGroupCommit", {}),
    "http-client": ("limit_http", "BareHttp", {}),
    "dbos": ("dbos_", "Dbos", {}),
    "dbos-threads": ("dbos_", "Dbos", {"threads": True}),
    "temporal": ("temporal", "Temporal", {}),
    "temporal-memory": ("temporal", "Temporal", {}),
}
_MODULES = tuple(dict.fromkeys(module for module, _, _ in _CONTENDERS.values()))


@dataclass(frozen=True)
class Cell:
    """What is to be measured. `address` is the database's URL, or host:port of Temporal's server."""

    contender: str
    workload: str
    at_once: int
    address: str
    server_pid: int  # 0: the database is in the contender's own process
    warmup: float
    measured: float
    drain: float
    url: str = ""  # of the service that HTTP steps call
    profile: str = ""  # a file: write where the time of the window went, which takes time itself


def run(cell: Cell) -> dict[str, Any]:
    """Measure in a process of its own; `{"error": …}` when that failed."""
    patience = cell.warmup + cell.measured + cell.drain + _GRACE
    return child.call("tests.benchmarks.cell:measured", asdict(cell), patience)


async def measured(**fields: Any) -> dict[str, Any]:
    """Measure in this process."""
    cell = Cell(**fields)
    profiler = cProfile.Profile() if cell.profile else None
    contender = await _contender(cell).__aenter__()
    window = Window(cell.warmup, cell.measured, cell.drain)
    sample = await measure(contender, cell.at_once, window, cell.server_pid or None, profiler)
    if profiler is not None:
        _write_profile(profiler, Path(cell.profile))
    return sample.as_json()


def _write_profile(profiler: cProfile.Profile, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for order in ("tottime", "cumulative"):
            pstats.Stats(profiler, stream=file).sort_stats(order).print_stats(70)


def configurations() -> dict[str, Any]:
    """How each contender is configured, as its module says."""
    return {name: importlib.import_module(f"tests.benchmarks.{name}").CONFIGURATION for name in _MODULES}


def _contender(cell: Cell) -> Contender:
    """Imported only here, so that no contender pays for another's modules."""
    module, name, more = _CONTENDERS[cell.contender]
    workload = "transform" if cell.contender == "ours-transform" else cell.workload
    make = getattr(importlib.import_module(f"tests.benchmarks.{module}"), name)
    made: Contender = make(cell.address, workload, cell.at_once, cell.url, **more)
    return made
