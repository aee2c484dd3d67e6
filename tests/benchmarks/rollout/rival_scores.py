"""The rivals beside the controller, in the same simulated worlds: as documented, and at the same false rollbacks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from orchestrator_operator.rollout.simulation.ensemble import Ensemble
from orchestrator_operator.rollout.simulation.outcomes import NEVER
from orchestrator_operator.rollout.simulation.world import Harm, Kind, World, worse

from tests.benchmarks import machine
from tests.benchmarks.rollout import our_worlds
from tests.benchmarks.rollout.rivals import Outcome, families
from tests.benchmarks.rollout.scores import Score, Setting, false_rollbacks, judged, matched, score, settings
from tests.benchmarks.rollout.seen import seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator_operator.specs.rollout import RolloutSpec

    from tests.benchmarks.rollout.rivals import Rule
    from tests.benchmarks.rollout.trace import Trace

RUNS = 2_000  # of a healthy V2; a fifth of them where V2 is bad
STEP = timedelta(minutes=15)  # of a rival's bins, and of the controller's looks
AT_MOST = 0.01  # false rollbacks in every null world: the goal that the controller is held to
_HOPELESS = 0.05  # settings with a higher rate are not tried where V2 is bad
_DAY = timedelta(days=1)
OURS = "Orchestrator"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Null worlds that a setting must not fall for, and worlds where V2 is bad, all with one base rate.

    `away` are null worlds that only the documented settings are shown in: a rule that aborts when Prometheus is away
    could keep no rate there, whatever its statistics are.
    """

    base: float
    nulls: tuple[World, ...]
    harms: tuple[World, ...]
    away: tuple[World, ...] = ()


def comparisons() -> Iterator[Comparison]:
    """Little, normal and much traffic, few and many failures; the accidents and the harms in normal traffic."""
    normal = our_worlds.NORMAL
    little = replace(normal, name="50/h, 1 %", load=50.0)
    much = replace(normal, name="20,000/h, 1 %", load=20_000.0)
    rarely = replace(normal, name="1,000/h, 0.1 %", base=0.001)
    often = replace(normal, name="1,000/h, 5 %", base=0.05)
    mended = replace(normal, name="1,000/h, retries mend half", base=0.005, transient=0.005)
    lasting = replace(our_worlds.LONG, name="1,000/h, long steps")
    hidden = Harm(times={Kind.TRANSIENT: 5.0})
    accidents = replace(normal, name="1,000/h, ten times the incidents", incidents=10, tenant_incidents=70)
    away = replace(normal, name="1,000/h, Prometheus away 6 h a week", outages=timedelta(hours=6))
    yield Comparison(
        normal.base,
        (accidents, normal, mended, lasting),  # the most deceptive one first
        (
            replace(normal, name="1,000/h x2", harm=worse(2)),
            replace(normal, name="1,000/h x5", harm=worse(5)),
            replace(normal, name="1,000/h x2 from day 20", harm=worse(2, 20 * _DAY)),
            replace(normal, name="1,000/h, one bad host of twenty", harm=Harm(fails=0.025)),
            replace(mended, name="1,000/h, x5 hidden by retries", harm=hidden),
            replace(normal, name="1,000/h, harms both arms x3", harm=Harm(both=3.0)),
        ),
        (away,),
    )
    yield Comparison(little.base, (little,), (replace(little, name="50/h x5", harm=worse(5)),))
    yield Comparison(much.base, (much,), tuple(replace(much, name=f"20,000/h x{n}", harm=worse(n)) for n in (2, 5)))
    yield Comparison(rarely.base, (rarely,), (replace(rarely, name="1,000/h, 0.1 % x5", harm=worse(5)),))
    yield Comparison(often.base, (often,), (replace(often, name="1,000/h, 5 % x2", harm=worse(2)),))


def run(tell: Callable[[str], None], runs: int = RUNS, seed: int = 1) -> dict[str, Any]:
    """All comparisons, as rows of JSON."""
    spec = our_worlds.spec()
    documented: list[dict[str, Any]] = []
    at_rate: list[dict[str, Any]] = []
    for comparison in comparisons():
        bench = _Bench(spec, comparison, runs, seed, tell)
        documented += [found.described() for found in bench.documented()]
        at_rate += bench.at_the_same_rate()
    return {
        "machine": machine.describe(),
        "seed": seed,
        "runs": runs,
        "harmRuns": _of_harms(runs),
        "atMost": AT_MOST,
        "documented": documented,
        "matched": at_rate,
    }


class _Bench:
    """One comparison: its traces, and what everybody does with them."""

    def __init__(
        self, spec: RolloutSpec, comparison: Comparison, runs: int, seed: int, tell: Callable[[str], None]
    ) -> None:
        self._spec, self._runs, self._tell = spec, runs, tell
        self._comparison = comparison
        self._nulls = [self._trace(world, seed) for world in comparison.nulls]
        self._harms = [self._trace(world, seed + 1) for world in comparison.harms]
        self._away = [self._trace(world, seed) for world in comparison.away]
        same = [(world, seed) for world in comparison.nulls]
        same += [(world, seed + 1) for world in comparison.harms]
        same += [(world, seed) for world in comparison.away]
        self._ours = [self._score(*known, trace) for known, trace in zip(same, self._traces, strict=True)]

    @property
    def _traces(self) -> list[Trace]:
        return [*self._nulls, *self._harms, *self._away]

    def documented(self) -> list[Score]:
        """Every world by the controller, then by each rival as its documentation has it."""
        found = list(self._ours)
        for rule in families.as_documented():
            found += [score(rule, trace) for trace in self._traces]
            self._tell(rule.name)
        return found

    def at_the_same_rate(self) -> list[dict[str, Any]]:
        """For each world where V2 is bad the controller, and the best setting of each family."""
        base = self._comparison.base
        tried: dict[str, Sequence[Rule]] = {
            "Argo Rollouts, inline": families.argo(base, background=False),
            "Argo Rollouts, background": families.argo(base, background=True),
            "Flagger": families.flagger(base),
            "Kayenta": families.kayenta(),
        }
        ours = self._ours[: len(self._nulls)]
        worst = max((found.rolled_back_falsely for found in ours), key=lambda share: share.value)
        rows = [
            found.described() | {"family": OURS, "rolledBackFalsely": worst.described()}
            for found in self._ours[len(self._nulls) :][: len(self._harms)]
        ]
        for family, rules in tried.items():
            rates = false_rollbacks(rules, self._nulls, _HOPELESS)
            able = [(rule, share) for rule, share in rates if share.value <= _HOPELESS]
            self._tell(f"{family}: {len(able)} of {len(rates)} settings roll a healthy V2 back in 5 % of runs or fewer")
            rows += [_row(family, trace, matched(settings(able, trace), AT_MOST)) for trace in self._harms]
        return rows

    def _trace(self, world: World, seed: int) -> Trace:
        runs = _of_harms(self._runs) if world.harm else self._runs
        self._tell(f"{world.name}: {runs} runs")
        return seen(world, self._spec, runs=runs, step=STEP, seed=seed)

    def _score(self, world: World, seed: int, trace: Trace) -> Score:
        """The controller's own, in the very copies of the world that the rivals are given."""
        found = Ensemble(world, self._spec, runs=trace.runs, step=STEP, seed=seed, on_plan=True).run()
        never = np.full(trace.runs, np.inf)
        self._tell(f"{world.name}: {int((found.rolled_back != NEVER).sum())} rolled back by the controller")
        return judged(OURS, trace, Outcome(_seconds(found.rolled_back), never, _seconds(found.completed)))


def _of_harms(runs: int) -> int:
    return max(20, runs // 5)


def _seconds(times: np.ndarray) -> np.ndarray:
    return np.where(times == NEVER, np.inf, times)


def _row(family: str, trace: Trace, best: Setting | None) -> dict[str, Any]:
    if best is None:
        return {"family": family, "world": trace.name, "rule": None}
    return best.described() | {"family": family}
