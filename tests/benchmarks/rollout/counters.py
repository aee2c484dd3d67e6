"""Detector B with two estimates of its variance: the plain sum of squares, and the one that decides.

Bins of thirty units; V1's bad share follows the hour of the day, for both engines alike; bad units come alone or in
clusters of geometric size. Looked at after every bin, at the level that a user's counter has by default.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from orchestrator_operator.rollout.simulation.score import quantile, share_of, show_share
from orchestrator_operator.rollout.statistics import coins, evidence
from orchestrator_operator.rollout.statistics.normal_mixture import Sums, log_evidence

from tests.benchmarks import machine
from tests.benchmarks.report import number, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RUNS = 1_000
LEVEL, PASS_LEVEL, MARGIN = 0.005, 0.05, 1.5
_UNITS, _BINS, _DAYS = 30, 5_600, 28  # 200 bins a day: 250 units an hour
_CLUSTER = 5  # bad units that come together, on average
_PART = 50  # runs that are in memory together
ESTIMATES = ("sum of d^2", "as it is")


def run(tell: Callable[[str], None], runs: int = RUNS, seed: int = 1) -> dict[str, Any]:
    """Rows of JSON: one claim each, by both estimates."""
    rows = []
    for base in (0.01, 0.1):
        tell(f"a healthy V2 at 99 %, {100 * base:g} % bad")
        found = _over(runs, seed, lambda rng, n, base=base: ever(bins(rng, n, 0.99, base, cluster=_CLUSTER), LEVEL))
        rows.append(_shares("healthy V2 rolled back at 99 %", base, LEVEL, found))
    for base in (0.01, 0.1):
        tell(f"V2 at the margin at 5 %, {100 * base:g} % bad")
        found = _over(runs, seed, lambda rng, n, base=base: passes(bins(rng, n, 0.05, base, MARGIN, cluster=_CLUSTER)))
        rows.append(_shares("V2 at the margin passed at 5 %", base, PASS_LEVEL, found))
    tell("twice as bad at 5 %")
    delays = _over(runs // 4, seed, lambda rng, n: first(bins(rng, n, 0.05, 0.01, 2.0), LEVEL))
    medians = {name: quantile(of, 0.5) for name, of in delays.items()}
    rows.append({"name": "bins until twice as bad is seen at 5 %, no clusters, median", "base": 0.01, "bins": medians})
    tell("twice as bad from day 20 on")
    rows += [_late(base, runs // 4, seed) for base in (0.01, 0.1)]
    return {"machine": machine.describe(), "seed": seed, "runs": runs, "rows": rows}


def as_table(result: Mapping[str, Any]) -> str:
    """Markdown, made from the JSON alone."""
    about = (
        f"{result['runs']:,} runs of each healthy V2 and of each at the margin, a quarter of them else; "
        f"seed {result['seed']}, at `{result['machine']['commit']}`."
    )
    return f"{about}\n\n" + table(["", "V1 bad", *ESTIMATES], [_line(row) for row in result["rows"]])


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    promised = f" (promised: {100 * row['promised']:g} %)" if "promised" in row else ""
    if "bins" in row:
        cells = [number(row["bins"][name]) for name in ESTIMATES]
    else:
        cells = [show_share(*(row["shares"][name][key] for key in ("share", "low", "high"))) for name in ESTIMATES]
        hours = row.get("hours", {})
        cells = [
            f"{cell}, {number(hours[n], 1)} h" if hours.get(n) else cell
            for n, cell in zip(ESTIMATES, cells, strict=True)
        ]
    return f"{row['name']}{promised}", f"{100 * row['base']:g} %", *cells


def bins(
    rng: np.random.Generator, runs: int, share: float, base: float, risk: float | Floats = 1.0, cluster: int = 1
) -> Floats:
    """(runs, bins, 4): k₁, n₁, k₂, n₂; `share` of the units are V2's, `risk` may change from bin to bin."""
    hour = base * np.exp(0.5 * np.sin(2 * math.pi * np.arange(_BINS) / (_BINS / _DAYS))) / cluster
    n2 = rng.binomial(_UNITS, share, (runs, _BINS))
    begun = rng.binomial(_UNITS - n2, np.minimum(hour, 1)), rng.binomial(n2, np.minimum(hour * risk, 1))
    bad = [found + _more(rng, found, cluster) for found in begun]
    return np.stack([bad[0], _UNITS - n2, bad[1], n2], axis=-1).astype(np.float64)


def _more(rng: np.random.Generator, found: NDArray[np.int64], cluster: int) -> NDArray[np.int64]:
    """What comes with the first of each cluster."""
    if cluster == 1:
        return np.zeros_like(found)
    return np.where(found > 0, rng.negative_binomial(np.maximum(found, 1), 1 / cluster), 0)


def logs(sums: Sums, level: float) -> dict[str, Floats]:
    """The evidence after every bin, by both estimates; the plain one measures in units of the counter."""
    plain = log_evidence(sums.drift, sums.squares, level)
    return dict(zip(ESTIMATES, (plain, sums.log_evidence(level)), strict=True))


def ever(counted: Floats, level: float) -> dict[str, NDArray[np.bool_]]:
    """Whether each run is convicted at any bin."""
    return {
        name: (found >= -math.log(level)).any(axis=-1) for name, found in logs(Sums.of(counted, 1.0), level).items()
    }


def passes(counted: Floats) -> dict[str, NDArray[np.bool_]]:
    """Whether each run passes at any bin."""
    found = logs(Sums.of(counted, MARGIN).mirrored, PASS_LEVEL)
    return {name: (values >= -math.log(PASS_LEVEL)).any(axis=-1) for name, values in found.items()}


def first(counted: Floats, level: float) -> dict[str, Floats]:
    """The number of bins until each run is convicted; infinite for never."""
    return {name: _first(found >= -math.log(level)) for name, found in logs(Sums.of(counted, 1.0), level).items()}


def _first(shown: NDArray[np.bool_]) -> Floats:
    return np.where(shown.any(axis=-1), shown.argmax(axis=-1) + 1.0, np.inf)


def _late(base: float, runs: int, seed: int) -> dict[str, Any]:
    """Twice as bad from day 20 on: seen by day 28 without restarts, and as it is with them."""
    day, onset = _BINS // _DAYS, 20 * _BINS // _DAYS
    risk = np.where(np.arange(_BINS) < onset, 1.0, 2.0)

    def seen(rng: np.random.Generator, many: int) -> dict[str, Floats]:
        sums = Sums.of(bins(rng, many, 0.5, base, risk), 1.0)
        plain = logs(sums, LEVEL)[ESTIMATES[0]]
        fresh = {s: sums.log_evidence(LEVEL, since=s * day) for s in range(1, _DAYS)}
        mixed = np.stack(
            [
                coins.log_mixture_of_paths(
                    sums.log_evidence(LEVEL)[run], {s: of[run] for s, of in fresh.items()}, _DAYS
                )
                for run in range(many)
            ]
        )
        return dict(
            zip(ESTIMATES, (_first(found >= evidence.log_threshold(LEVEL)) for found in (plain, mixed)), strict=True)
        )

    found = _over(runs, seed, seen)
    late = {name: of[of > onset] - onset for name, of in found.items()}
    shares = {name: share_of(np.isfinite(of)).described() for name, of in late.items()}
    hours = {name: quantile(of, 0.5) * 24 / day for name, of in late.items()}
    told = {name: hours[name] if math.isfinite(hours[name]) else None for name in ESTIMATES}
    name = "twice as bad from day 20 on at 50 %, no clusters: seen by day 28 (the first without restarts)"
    return {"name": name, "base": base, "shares": shares, "hours": told}


def _shares(name: str, base: float, promised: float, found: Mapping[str, Any]) -> dict[str, Any]:
    shares = {estimate: share_of(which).described() for estimate, which in found.items()}
    return {"name": name, "base": base, "promised": promised, "shares": shares}


def _over(runs: int, seed: int, one: Callable[[np.random.Generator, int], Mapping[str, Any]]) -> dict[str, Any]:
    """The same in pieces that fit into memory."""
    rng = np.random.default_rng(seed)
    parts = [one(rng, min(_PART, runs - begun)) for begun in range(0, runs, _PART)]
    return {name: np.concatenate([part[name] for part in parts]) for name in ESTIMATES}
