"""What is made of measurements: percentiles, medians, shares. Pure, so the tests can hold it to its word."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What is the middle of the rounds.
MEDIANS = (
    "steps_per_second",
    "p50_ms",
    "p99_ms",
    "client_cpu_s_per_1000_steps",
    "server_cpu_s_per_1000_steps",
    "client_peak_mb",
    "server_mb",
)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value with at least that share of all values at or below it."""
    if not values:
        return math.nan
    rank = math.ceil(len(values) * share)
    return sorted(values)[max(0, rank - 1)]


def percentile_so_far(over: Sequence[float], unfinished: Sequence[float], share: float) -> tuple[float, bool]:
    """The percentile of times, some of which are only ages so far; and whether it is no more than a lower bound.

    An age above the percentile can grow without moving it, one below it may yet pass it.
    """
    value = percentile([*over, *unfinished], share)
    return value, any(age <= value for age in unfinished)


def best_limit(limits: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The number of pgbench's clients whose median over the rounds is the highest."""
    rates: dict[int, list[float]] = {}
    for row in limits:
        rates.setdefault(row["clients"], []).append(row["commits_per_second"])
    medians = [{"clients": clients, "commits_per_second": statistics.median(row)} for clients, row in rates.items()]
    return max(medians, key=lambda row: row["commits_per_second"], default=None)


def summary(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each load the medians of its rounds, and of the rate also the lowest and the highest.

    A round that failed counts in `failed_rounds` alone. A latency is a lower bound where executions were not over yet.
    """
    groups: dict[tuple[str, int, str], list[Mapping[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["workload"], cell["at_once"], cell["contender"]), []).append(cell)
    rows = []
    for (workload, at_once, contender), group in groups.items():
        row: dict[str, Any] = {"workload": workload, "at_once": at_once, "contender": contender}
        good = [cell for cell in group if "error" not in cell]
        row["failed_rounds"] = len(group) - len(good)
        if good:
            row |= {figure: statistics.median(cell[figure] for cell in good) for figure in MEDIANS}
            rates = [cell["steps_per_second"] for cell in good]
            row |= {"lowest_steps_per_second": min(rates), "highest_steps_per_second": max(rates)}
            for bound in ("p50_is_lower_bound", "p99_is_lower_bound"):
                row[bound] = any(cell[bound] for cell in good)
        rows.append(row)
    return rows
