"""The coin test on arrays: one experiment at one moment, or thousands of them at every moment, by the same lines.

Every execution went to V2 by a coin of known probability p. If V2 does no harm, every bad execution is V2's with
probability exactly p, and so is every good one: randomisation inference (Fisher 1935), in which nothing is estimated.
If V2's relative risk is ψ, a bad execution is V2's with probability q(ψ) = pψ/(pψ + 1 - p): two counts compared given
their sum (Przyborowski & Wilenski 1940). The evidence E is a mixture (Robbins 1970; mixture.py has the weights) of the
likelihood ratios of these coins: an e-process, that is at any stopping time its mean is at most 1 unless V2 is worse
(Shafer 2021; Ramdas, Grünwald, Vovk & Shafer 2023), so that P(E ever reaches 1/alpha) <= alpha however often it is read
(Ville 1939).

Shapes: `p` is (P,), one entry a percent; counts are (..., P), in executions; evidence is in natural logarithms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator_operator.rollout.statistics.mixture import DECIDING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from orchestrator_operator.rollout.statistics.mixture import Mixture

    Floats = NDArray[np.float64]

BETTER = np.array([1.25, 1.5, 2, 3, 5, 10])  # alternatives for Pass: ψ_m divided by these
_FINITE = (
    0.9  # the part of the restarts' weight for those that are planned; the rest is spread over all there may ever be
)
_BASEL = 6 / math.pi**2  # makes Σ 1/(s+1)² one


@dataclass(frozen=True, slots=True)
class Counts:
    """Executions by outcome and engine; four arrays of one shape (..., P)."""

    bad_v1: Floats
    good_v1: Floats
    bad_v2: Floats
    good_v2: Floats


def log_fail(p: Floats, counts: Counts, tolerate: float = 1.0, mixture: Mixture = DECIDING) -> Floats:
    """The evidence ln E that V2's relative risk is above `tolerate` (ψ₀); shape (...).

    Σ_j π_j Π_p (q(ψ_j)/q(ψ₀))^k₂ ((1-q(ψ_j))/(1-q(ψ₀)))^k₁ over ψ_j = ψ₀·WORSE: the likelihood ratio is monotone in
    ψ, so that E is a supermartingale for every ψ <= ψ₀ and not at ψ₀ alone (Karlin & Rubin 1956).

    With ψ₀ = 1 good executions are coins too: each ψ_j is paired with a φ_j, and the same product for the good ones is
    a factor of its term. That convicts a V2 that fails everything after a handful.
    """
    found = mixture.against(tolerate)
    return _log_sum(log_likelihoods(p, counts, tolerate, found), found.weights)


def log_pass(p: Floats, bad_v1: Floats, bad_v2: Floats, margin: ArrayLike) -> Floats:
    """The evidence ln E that V2's relative risk is below `margin` (ψ_m): `log_fail` mirrored, bad executions only.

    The null is ψ >= ψ_m, the alternatives are ψ_m/BETTER. `margin` is one number, or one an experiment: shape (...).
    """
    at = np.asarray(margin, dtype=np.float64)
    if at.ndim:
        at = at[..., None, None]
    return _log_sum(_log_ratios(p, bad_v1, bad_v2, at / BETTER, at), np.full(len(BETTER), 1 / len(BETTER)))


def log_fail_paths(
    p: Floats,
    counts: Counts,
    restarts: Mapping[int, int],
    planned: int,
    tolerate: float = 1.0,
    mixture: Mixture = DECIDING,
) -> Floats:
    """`log_fail` with restarts at every look of many runs: totals of shape (..., looks, P) in, (..., looks) out.

    `restarts[s]` is the look whose totals restart s = 1, 2, … began with. The same number, look by look, as
    `evidence.log_fail_with_restarts`; it needs memory for a number per pair, look and run, so hand it thousands of runs
    in parts. A likelihood's logarithm is linear in the counts: what came after a restart is a difference.
    """
    found = mixture.against(tolerate)
    logs = log_likelihoods(p, counts, tolerate, found)
    fresh = {
        index: _log_sum(logs[..., look:, :] - logs[..., look : look + 1, :], found.weights)
        for index, look in restarts.items()
    }
    return log_mixture_of_paths(_log_sum(logs, found.weights), fresh, planned, for_whole=found.whole)


def log_mixture_of_paths(whole: Floats, fresh: Mapping[int, Floats], planned: int, *, for_whole: float = 0.5) -> Floats:
    """`log_mixture_of_restarts` at every look: `whole` is (..., looks), `fresh[s]` is (..., those since s began)."""
    rest = 1 - for_whole
    mixed = whole + math.log(for_whole + rest * restart_weight(0, planned))
    waiting = np.full(whole.shape[-1], rest - rest * restart_weight(0, planned))
    for index, logs in fresh.items():
        weight, look = rest * restart_weight(index, planned), whole.shape[-1] - logs.shape[-1]
        mixed[..., look:] = np.logaddexp(mixed[..., look:], logs + math.log(weight))
        waiting[look:] -= weight
    return np.asarray(np.logaddexp(mixed, np.log(waiting)), dtype=np.float64)


def log_mixture_of_restarts(
    whole: float, fresh: Mapping[int, float], planned: int, *, for_whole: float = 0.5, complete: bool = True
) -> float:
    """The logarithm of λ·E_{0:t} + (1-λ)·Σ_s w_s·E_{s:t}: the whole, and what started afresh at s = 0, 1, 2 …

    `fresh[s]` is ln E of what came after restart s = 1, 2, …; one that has not begun counts E = 1; `for_whole` is λ.
    Unless `fresh` is complete, the others count 0: that is never more than the mixture, so what convicts then would
    have convicted by all of them, too. (With 1 for what is not known there would be two ways to convict.) A mixture
    of e-processes is one, with no horizon fixed; late onsets as in Shin, Ramdas & Rinaldo 2022 (arXiv 2203.03532).
    """
    rest = 1 - for_whole
    logs, weights = [whole], [for_whole + rest * restart_weight(0, planned)]
    for index, log_e in fresh.items():
        logs.append(log_e)
        weights.append(rest * restart_weight(index, planned))
    if complete:
        logs.append(0.0)
        weights.append(max(0.0, 1.0 - sum(weights)))
    top = max(logs)
    return top + math.log(sum(weight * math.exp(log_e - top) for log_e, weight in zip(logs, weights, strict=True)))


def restart_weight(index: int, planned: int) -> float:
    """w_s: how much of the restarts' weight goes to restart s = `index`, from 0; all weights of all time sum to 1.

    0.9/D for s < D = `planned`, so that late onsets within the plan are all seen alike, and 0.1·6/(π²(s+1)²) for
    every s (Euler's sum), so that a rollout may last longer than it was planned.
    """
    finite = _FINITE / planned if index < planned else 0.0
    return finite + (1 - _FINITE) * _BASEL / (index + 1) ** 2


def log_likelihoods(p: Floats, counts: Counts, tolerate: float, mixture: Mixture) -> Floats:
    """Log likelihood ratios of the coins, the bad and the good together, for each pair of the mixture: (..., J)."""
    null = np.asarray(tolerate, dtype=np.float64)
    bad = _log_ratios(p, counts.bad_v1, counts.bad_v2, null * mixture.worse, null)
    if (mixture.fewer == 1).all():  # says exactly nothing
        return bad
    return bad + _log_ratios(p, counts.good_v1, counts.good_v2, mixture.fewer, np.float64(1))


def log_steps(p: Floats, alternatives: Floats, null: Any) -> tuple[Floats, Floats]:
    """What one execution on V1, and one on V2, adds to each log likelihood ratio: (..., P, J) each.

    ln((1-q(ψ))/(1-q(ψ₀))) and ln(q(ψ)/q(ψ₀)) with q(ψ) = pψ/(pψ + 1 - p). Where p is 0 or 1 the coin cannot speak: such
    executions add exactly nothing.
    """
    p = p[:, None]
    tossed = (p > 0) & (p < 1)
    miss = np.log((p * null + 1 - p) / (p * alternatives + 1 - p))
    return np.where(tossed, miss, 0.0), np.where(tossed, np.log(alternatives / null) + miss, 0.0)


def _log_ratios(p: Floats, on_v1: Floats, on_v2: Floats, alternatives: Floats, null: Any) -> Floats:
    """Log likelihood ratios of these coins: each alternative of the relative rate against `null`; shape (..., J)."""
    v1, v2 = log_steps(p, alternatives, null)
    if v1.ndim == 2:  # noqa: PLR2004 - percents by alternatives, the same for all experiments
        return np.asarray(on_v1 @ v1 + on_v2 @ v2, dtype=np.float64)
    ratios = on_v1[..., None, :] @ v1 + on_v2[..., None, :] @ v2
    return np.asarray(ratios[..., 0, :], dtype=np.float64)


def _log_sum(logs: Floats, weights: Floats) -> Floats:
    """The logarithm of Σ weights·exp(logs) over the last axis; weights sum to 1, so that no evidence is exactly 0."""
    top = logs.max(axis=-1, keepdims=True)
    return np.asarray(top[..., 0] + np.log1p(np.expm1(logs - top) @ weights), dtype=np.float64)
