"""What a spec's own schedule promises before it is started: predicted by rollouts in worlds that are made up. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.rollout.simulation.ensemble import START, Ensemble
from orchestrator_operator.rollout.simulation.limits import limit_hours
from orchestrator_operator.rollout.simulation.score import score
from orchestrator_operator.rollout.simulation.world import World, worse

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from orchestrator_operator.rollout.simulation.own_traffic import Recording
    from orchestrator_operator.rollout.simulation.score import Score
    from orchestrator_operator.specs.rollout import RolloutSpec

FACTORS = (2.0, 5.0)
_LOOKS, _AT_LEAST = 2000, 24  # in the longest that a rollout may last; in its shortest stage
_FINEST, _COARSEST = timedelta(seconds=1), timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The scores of a healthy V2 and of harmful ones, in one world otherwise."""

    world: World
    runs: int
    seed: int
    step: timedelta
    healthy: Score
    harmful: dict[float, Score]  # by how many times as often V2 fails
    limits: dict[float, float]  # hours that no rule can do with less, at the first stage's percent

    def described(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "load": self.world.load,
            "baseRate": self.world.base,
            "runs": self.runs,
            "seed": self.seed,
            "stepSeconds": self.step.total_seconds(),
            "falseRollbacks": self.healthy.rolled_back.described(),
            "falseHolds": self.healthy.falsely_held.described(),
            "hoursToAll": self.healthy.to_all.described(),
            "approvals": self.healthy.people,
            "healthy": self.healthy.described(),
            "harmful": [
                {"times": factor, "limitHours": _finite(self.limits[factor])} | found.described()
                for factor, found in self.harmful.items()
            ],
        }


def forecast(
    spec: RolloutSpec,
    world: World,
    *,
    runs: int,
    seed: int,
    start: datetime = START,
    recording: Recording | None = None,
    tell: Callable[[str, float], None] = lambda *_: None,
) -> Forecast:
    """`runs` rollouts of a healthy V2, and as many of each harmful one; a person approves at once where one is asked.

    They begin at `start`, which matters to windows and freezes. `tell` hears what is simulated, and which share of it
    is done. With a recording, `world` is its own. Raises InvalidInput for a spec that compares nothing which a world
    could simulate.
    """
    if not any(criterion.preset for criterion in spec.comparisons):
        message = "no comparison has a preset, and nothing is known of how counters of your own behave"
        raise InvalidInput([Problem("spec.criteria", message)])
    step = step_of(spec)

    def simulated(name: str, lived_in: World) -> Score:
        ensemble = Ensemble(lived_in, spec, runs=runs, step=step, seed=seed, start=start, recording=recording)
        found = score(lived_in, ensemble.run(lambda done: tell(name, done)))
        tell(name, 1.0)
        return found

    first = float(spec.stages[0].share)
    return Forecast(
        world=world,
        runs=runs,
        seed=seed,
        step=step,
        healthy=simulated("a healthy V2", world),
        harmful={factor: simulated(f"a V2 that fails x{factor:g}", harmed(world, factor)) for factor in FACTORS},
        limits={
            factor: limit_hours(world.load, world.base, first, factor, spec.analysis.false_rollback)
            for factor in FACTORS
        },
    )


def harmed(world: World, factor: float) -> World:
    """The same world with a V2 that fails so many times as often, from the start."""
    return replace(world, name=f"{world.name} x{factor:g}", harm=worse(factor))


def step_of(spec: RolloutSpec) -> timedelta:
    """Two thousand looks in the longest time, at least 24 in the shortest stage; between a second and half an hour."""
    shortest = min(stage.duration for stage in spec.stages)
    longest = spec.planned + len(spec.stages) * spec.analysis.extend
    wanted = min(longest / _LOOKS, shortest / _AT_LEAST, spec.analysis.restart)
    return timedelta(seconds=math.floor(min(max(wanted, _FINEST), _COARSEST).total_seconds()))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
