"""Weights of the coin test beside each other: what a choice of them gains at one harm, and what it costs at another.

The plainest world there is, so that nothing but the weights makes a difference: executions come evenly, each fails by a
coin of its own, `failures` alone with its half of the error level, no ages. Looked at after every failure.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from orchestrator_operator.rollout.simulation.limits import coin_information, information
from orchestrator_operator.rollout.simulation.score import quantile
from orchestrator_operator.rollout.statistics import coins, evidence
from orchestrator_operator.rollout.statistics.coins import Counts
from orchestrator_operator.rollout.statistics.mixture import DECIDING, EVEN, FEWER_GOOD, WORSE, Mixture, mixture

from tests.benchmarks import machine
from tests.benchmarks.report import number, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RUNS = 1_000
_BASE, _LOAD = 0.0085, 1_000.0  # V1's bad share at the middle age; executions an hour
_DAYS = 28
_NEEDED = evidence.log_threshold(0.01, 0.5)
_HARMS = ((5, 1.5), (5, 2.0), (5, 3.0), (5, 5.0), (25, 2.0), (25, 5.0), (50, 2.0), (50, 5.0))  # per cent, times
_OUTAGES = (5, 25, 50, 99)
_PART = 100  # runs that are in memory together
_STAGES = ((0.0, 5.0), (168.0, 25.0), (336.0, 50.0), (504.0, 99.0))  # from this hour on, per cent
_ONSETS = (240.0, 252.0)  # hours: at a restart of the evidence, and at noon
_RESTARTS = (24, 12, 6, 3, 1)  # hours


def tried() -> dict[str, Mixture]:
    """What was tried, in its order; the last one decides."""
    lately = EVEN.whole
    rare = [(psi, phi, 1 / (5 if phi == 1 else 15)) for psi in WORSE for phi in FEWER_GOOD]
    kept = [pair for pair in rare if pair[1] == 1 or pair[0] >= 10]
    total = sum(weight for _, _, weight in kept)
    return {
        "all pairs alike": EVEN,
        "no good executions": mixture([(psi, 1, 1 / len(WORSE)) for psi in WORSE], lately),
        "fewer good ones from x10 on alone": mixture([(psi, phi, w / total) for psi, phi, w in kept], lately),
        "the weights that decide, half for the restarts": replace(DECIDING, whole=lately),
        "the weights that decide": DECIDING,
    }


def run(tell: Callable[[str], None], runs: int = RUNS, seed: int = 1) -> dict[str, Any]:
    """Both tables as rows of JSON."""
    rows = []
    for name, one in tried().items():
        tell(name)
        rows.append(
            {
                "name": name,
                "ratios": [_ratio(one, percent, factor, runs, seed) for percent, factor in _HARMS],
                "outages": [_outage(one, percent, 4 * runs, seed) for percent in _OUTAGES],
            }
        )
    coin = [information(percent, factor) / coin_information(percent, factor) for percent, factor in _HARMS]
    late = []
    for name, every, one in [("24 h, all pairs alike", 24, EVEN), *((f"{h} h", h, DECIDING) for h in _RESTARTS)]:
        tell(f"restarts every {name}")
        hours = [_late(one, every, onset, factor, runs // 4, seed) for factor in (2.0, 5.0) for onset in _ONSETS]
        late.append({"name": name, "delays": hours})
    return {"machine": machine.describe(), "seed": seed, "runs": runs, "coin": coin, "rows": rows, "late": late}


def as_table(result: Mapping[str, Any]) -> str:
    """Markdown, made from the JSON alone."""
    harms = [f"x{factor:g} at {percent} %" for percent, factor in _HARMS]
    outages = [f"all fail at {percent} %" for percent in _OUTAGES]
    rows = [["*the coin's own limit*", *(number(ratio, 2) for ratio in result["coin"]), *("" for _ in outages)]]
    for row in result["rows"]:
        handful = [f"{found['median']} ({found['p99']})" for found in row["outages"]]
        rows.append([row["name"], *(number(ratio, 2) for ratio in row["ratios"]), *handful])
    late = [[row["name"], *(number(hours, 1) for hours in row["delays"])] for row in result["late"]]
    header = [f"x{factor} from {when}" for factor in (2, 5) for when in ("day 10", "noon of day 10")]
    about = f"{result['runs']} runs each, seed {result['seed']}, at `{result['machine']['commit']}`."
    return "\n\n".join(
        (
            f"{about} Delays in times the limit, median; where all fail, V2's executions until then, median (99 %).",
            table(["weights", *harms, *outages], rows),
            "Hours to convict, median, by `analysis.restart`:",
            table(["restart", *header], late),
        )
    )


def _ratio(one: Mixture, percent: int, factor: float, runs: int, seed: int) -> float:
    """The median number of executions until it is convicted, over those that the limit needs."""
    rng, p = np.random.default_rng(seed), percent / 100
    bad_share = _BASE * (1 - p + p * factor)
    most = math.ceil(30 / coin_information(percent, factor) * (1 - p + p * factor)) + 20  # bad ones: five times enough
    on_v2 = p * factor / (1 - p + p * factor)
    good_on_v2 = p * (1 - _BASE * factor) / (1 - bad_share)
    found: list[float] = []
    for _ in range(0, runs, _PART):
        shape = (_PART, most)
        k2 = (rng.random(shape) < on_v2).cumsum(axis=1, dtype=np.float64)
        good = rng.geometric(bad_share, shape) - 1
        g2 = rng.binomial(good, good_on_v2).cumsum(axis=1)
        k, g = np.arange(1.0, most + 1), good.cumsum(axis=1)
        counts = Counts(*(column[..., None] for column in (k - k2, g - g2, k2, g2.astype(np.float64))))
        found += _first(one, p, counts, k + g).tolist()
    return quantile(np.array(found), 0.5) * _BASE * information(percent, factor) / _NEEDED


def _outage(one: Mixture, percent: int, runs: int, seed: int) -> dict[str, int]:
    """V2's executions, all failing, until it is convicted; 1 % fail on V1."""
    rng, p, found = np.random.default_rng(seed), percent / 100, []
    length = 1600 if percent > 90 else math.ceil(25 / p)  # where hardly any are on V1, that takes long
    for _ in range(0, runs, _PART):
        on_v2 = rng.random((_PART, length)) < p
        bad = rng.random((_PART, length)) < 0.01
        which = (~on_v2 & bad, ~on_v2 & ~bad, on_v2, on_v2 & False)
        counts = Counts(*(column.cumsum(axis=1, dtype=np.float64)[..., None] for column in which))
        found += _first(one, p, counts, counts.bad_v2[..., 0]).tolist()
    median, p99 = (int(quantile(np.array(found), part)) for part in (0.5, 0.99))
    return {"percent": percent, "median": median, "p99": p99}


def _first(one: Mixture, p: float, counts: Counts, at: Floats) -> Floats:
    """What stands in `at` where the evidence first convicts; infinite where it never does."""
    logs = coins.log_fail_paths(np.array([p]), counts, {}, _DAYS, mixture=one)
    shown = logs >= _NEEDED
    rows = np.arange(len(logs))
    return np.where(shown.any(axis=1), at[rows, shown.argmax(axis=1)], np.inf)


def _late(one: Mixture, every: int, onset: float, factor: float, runs: int, seed: int) -> float:
    """Median hours from the onset, with restarts every so many hours; looked at every hour before it, then finely."""
    rng = np.random.default_rng(seed)
    edges = np.unique(np.concatenate((np.arange(0, onset, 1.0), np.arange(onset, 336.0, 0.1).round(6), [336.0])))
    counts = np.zeros((4, runs, len(edges) - 1, len(_STAGES)))
    for look, (begins, ends) in enumerate(pairwise(edges)):
        stage = max(place for place, (since, _) in enumerate(_STAGES) if begins >= since)
        p, times = _STAGES[stage][1] / 100, factor if begins >= onset else 1.0
        arrive = _LOAD * (ends - begins)
        rates = (1 - p) * _BASE, (1 - p) * (1 - _BASE), p * _BASE * times, p * (1 - _BASE * times)
        counts[:, :, look, stage] = [rng.poisson(arrive * rate, runs) for rate in rates]
    totals = Counts(*counts.cumsum(axis=2))
    restarts = {s: int(np.searchsorted(edges, s * every)) - 1 for s in range(1, int(336 / every))}
    percents = np.array([percent / 100 for _, percent in _STAGES])
    logs = coins.log_fail_paths(percents, totals, restarts, math.ceil(_DAYS * 24 / every), mixture=one)
    shown = (logs >= _NEEDED) & (edges[1:] > onset)
    delays = np.where(shown.any(axis=1), edges[1:][shown.argmax(axis=1)] - onset, np.inf)
    return quantile(_unless_before(delays, logs, edges[1:] <= onset), 0.5)


def _unless_before(delays: Floats, logs: Floats, before: NDArray[np.bool_]) -> Floats:
    """Without the runs that were convicted before the onset."""
    return np.asarray(delays[~(logs[:, before] >= _NEEDED).any(axis=1)], dtype=np.float64)
