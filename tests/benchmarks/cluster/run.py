"""Every size, and Argo Workflows beside it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.benchmarks import machine
from tests.benchmarks.cluster import ours
from tests.benchmarks.cluster.argo import run as argo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SIZES = (100, 1_000, 10_000, 40_000)
_LARGE = 10_000  # resources, from which on a size is measured once: it is its own repetition


def run(
    tell: Callable[[str], None],
    sizes: Sequence[int],
    rounds: int,
    loads: ours.Loads,
    *,
    beside: bool,
    keep: Callable[[dict[str, Any]], None],
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure each small size `rounds` times, on a fresh control plane each; with `beside` Argo Workflows, too.

    `keep` gets what there is after each of them, for all of it takes long. `more` is an earlier result on the same
    machine, whose rows are kept.
    """
    began, spent = time.monotonic(), float((more or {}).get("minutes", 0))
    result: dict[str, Any] = {"machine": machine.describe(), "rows": [], "minutes": 0.0} | dict(more or {})
    for number in range(rounds):
        for size in sizes:
            if number and size >= _LARGE:
                continue
            tell(f"{size} resources, round {number + 1} of {rounds}")
            result["rows"].append(ours.measure(size, loads, tell))
            result["minutes"] = round(spent + (time.monotonic() - began) / 60, 1)
            keep(result)
    if beside:
        tell("beside Argo Workflows")
        result["argo"] = argo.measure(tell)
        result["minutes"] = round(spent + (time.monotonic() - began) / 60, 1)
        keep(result)
    return result
