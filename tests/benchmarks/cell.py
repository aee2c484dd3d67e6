"""One contender, one workload, one number of executions at once, in a process of its own.

python -m tests.benchmarks.cell '{"contender": "ours", …}'     prints one line of JSON on standard output
"""

from __future__ import annotations

import asyncio
import cProfile
import importlib
import json
import logging
import os
import pstats
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from tests.benchmarks.load import Contender, Window, measure


@dataclass(frozen=True, slots=True)
class Cell:
    """What is to be measured. `address` is the database's URL, or host:port of Temporal's server."""

    contender: str
    workload: str
    at_once: int
    address: str
    server_pid: int
    warmup: float
    measured: float
    drain: float
    url: str = ""  # of the service that HTTP steps call
    profile: str = ""  # a file: write where the time went, which takes time itself

    def as_argument(self) -> str:
        """What the process is started with."""
        return json.dumps(asdict(self))


def contender(cell: Cell) -> Contender:
    """The contender of a cell; imported only here, so that none pays for another's modules."""
    module, name, more = _CONTENDERS[cell.contender]
    workload = "transform" if cell.contender == "ours-transform" else cell.workload
    make = getattr(importlib.import_module(f"tests.benchmarks.{module}"), name)
    made: Contender = make(cell.address, workload, cell.at_once, cell.url, **more)
    return made


_CONTENDERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ours": ("ours", "Ours", {}),
    "ours-transform": ("ours", "Ours", {}),
    "dbos": ("dbos_", "Dbos", {}),
    "dbos-threads": ("dbos_", "Dbos", {"threads": True}),
    "temporal": ("temporal", "Temporal", {}),
    "temporal-memory": ("temporal", "Temporal", {}),
    "group-commit": ("limit_group_commit", "BareGroupCommit", {}),
}


async def _run(cell: Cell, profiler: cProfile.Profile | None) -> None:
    made = await contender(cell).__aenter__()
    window = Window(cell.warmup, cell.measured, cell.drain)
    sample = await measure(made, cell.at_once, window, cell.server_pid or None, profiler)
    sys.stdout.write(json.dumps(sample.as_json()) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, print, and end at once: what is still in flight needs no tidy end."""
    cell = Cell(**json.loads(sys.argv[1]))
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    profiler = cProfile.Profile() if cell.profile else None
    code = 0
    try:
        asyncio.new_event_loop().run_until_complete(_run(cell, profiler))
    except Exception:
        logging.getLogger(__name__).exception("the measurement failed: %s", cell)
        code = 1
    if profiler is not None:
        with Path(cell.profile).open("w", encoding="utf-8") as file:
            for order in ("tottime", "cumulative"):
                pstats.Stats(profiler, stream=file).sort_stats(order).print_stats(70)
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
