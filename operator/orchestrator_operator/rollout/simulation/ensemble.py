"""Many rollouts of one spec in copies of one world, judged and planned together, look by look. Pure.

What stands here in arrays is what judge() and plan() say in words; `Rehearsal` runs those on the same counts, and
`rehearsed` (and its test) holds the two to the same decision at every look.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from orchestrator_operator.rollout.judging.comparisons import planned_restarts
from orchestrator_operator.rollout.planning import windows
from orchestrator_operator.rollout.simulation.counting import V2, Counting
from orchestrator_operator.rollout.simulation.experiment import DOUBLED, Experiment
from orchestrator_operator.rollout.simulation.guarded import Guardrails
from orchestrator_operator.rollout.simulation.levels import log_threshold
from orchestrator_operator.rollout.simulation.outcomes import NEVER, REASONS, nothing_yet
from orchestrator_operator.rollout.simulation.own_counter import OwnCounter
from orchestrator_operator.rollout.simulation.own_traffic import OwnTraffic
from orchestrator_operator.rollout.simulation.passes import Passes
from orchestrator_operator.rollout.simulation.suspicions import Suspicions
from orchestrator_operator.rollout.simulation.traffic import Traffic
from orchestrator_operator.rollout.simulation.world import FAILING, Kind
from orchestrator_operator.specs.rollout_words import Underpowered

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from orchestrator_operator.rollout.simulation.outcomes import Outcomes
    from orchestrator_operator.rollout.simulation.own_traffic import Recording
    from orchestrator_operator.rollout.simulation.world import World
    from orchestrator_operator.specs.rollout import RolloutSpec

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

START = datetime(2026, 3, 1, tzinfo=UTC)  # a Sunday: where windows and freezes do not matter, neither does it
_ALL = 100  # per cent
_HARMFUL = [*FAILING, Kind.TRANSIENT, Kind.SLOW, Kind.LONG_SLOW, Kind.OVER_A_DAY, Kind.STOPS]


class Ensemble:
    """`runs` rollouts; a person approves at once where `approve`."""

    def __init__(
        self,
        world: World,
        spec: RolloutSpec,
        *,
        runs: int,
        step: timedelta,
        seed: int,
        approve: bool = True,
        start: datetime = START,
        own: bool = False,
        recording: Recording | None = None,
        on_plan: bool = False,
    ) -> None:
        """With `own`, the spec's first comparison without a preset counts executions, see own_counter.py.

        With a recording, what comes and what fails on V1 comes from there, and only the harm from the world. With
        `on_plan` the percent follows the plan whatever is decided, to the plan's end: every rule can be given the same.
        """
        analysis, self.spec, self.approve, self.start = spec.analysis, spec, approve, start
        self.runs, self._step = runs, round(step.total_seconds())
        longest = spec.planned + len(spec.stages) * analysis.extend
        self.steps = math.ceil(longest / step) + math.ceil(analysis.ages[-1] / step)
        self._plan: Ints | None = None  # the index of the stage by interval, where nothing changes it
        if on_plan:
            self._plan = np.repeat(np.arange(len(spec.stages)), [round(stage.duration / step) for stage in spec.stages])
            self.steps = len(self._plan)
        rng = np.random.default_rng([seed, 1])
        self.world = world
        if recording is None:
            self.traffic = Traffic(world, runs, self.steps, step, rng)
        else:
            self.traffic = OwnTraffic(recording, world, runs, self.steps, step, rng)
        self.counting = Counting(spec, runs, step)
        keys = self.counting.keys
        self._percents = np.array([float(stage.share) for stage in spec.stages])
        self._ends = np.array([round(stage.duration.total_seconds()) for stage in spec.stages])
        # Whether a person must let the rollout into the stage after this one.
        self._asks = np.array([*(stage.approval for stage in spec.stages[1:]), False])
        planned = planned_restarts(spec)
        shares = [stage.share for stage in spec.stages]
        self._suspicions = Suspicions(runs, len(keys), shares, planned, analysis.tolerate)
        criteria = {str(item.preset): item for item in spec.comparisons}
        self._thresholds = np.array([log_threshold(spec, criteria[name], age) for name, age in keys])
        self._passes = Passes(spec, self.counting)
        self.guardrails = Guardrails(spec, self.traffic, runs)
        self.experiment = Experiment(spec, self.traffic, runs, step, rng=np.random.default_rng([seed, 2]))
        self._restart, self._restarts = round(analysis.restart.total_seconds()), np.zeros(runs, dtype=np.int64)
        self.look_at, self.stage, self.stage_started = 0, np.zeros(runs, dtype=np.int64), np.zeros(runs, dtype=np.int64)
        self.reason = np.full(runs, "StageRunning", dtype=object)
        self.outcomes = nothing_yet(runs, float(self._step), keys)
        counters = [item for item in spec.comparisons if own and item.preset is None]
        self._own = OwnCounter(spec, counters[0], runs, self.steps, step) if counters else None

    @property
    def running(self) -> Mask:
        over = (self.outcomes.rolled_back != NEVER) | (self.outcomes.completed != NEVER)
        return np.asarray(~over, dtype=np.bool_)

    def run(self, tell: Callable[[float], None] = lambda _: None) -> Outcomes:
        """To the end of the last one; `tell` hears which share of the longest time is over, now and then."""
        every = max(1, self.steps // 50)
        while self.look_at < self.steps and self.running.any():
            self.advance()
            if self.look_at % every == 0:
                tell(self.look_at / self.steps)
        if self._own is not None:
            self.outcomes.convicted_as_well(self._own.criterion.name, self._own.convicted(self.traffic.missed))
        return self.outcomes

    def advance(self) -> None:
        """One interval goes by, then every rollout is looked at."""
        step, running = self.look_at, self.running
        if self._plan is not None:
            self.stage[:] = self._plan[step]
        share = self._percents[self.stage] / _ALL
        begun = self.traffic.draw(step, share if self._plan is not None else np.where(running, share, 0.0))
        self._harm_done(step, begun, running)
        if self._own is not None:
            self._own.count(begun)
        grown = self.counting.count(step, self.stage, begun)
        self._suspicions.add(grown.stage, grown.bad_v1, grown.good_v1, grown.bad_v2, grown.good_v2)
        self.experiment.count(step, self.stage, begun, grown)
        self.guardrails.count(begun)
        self.look_at += 1
        self._look(self.look_at * self._step, running)

    def _look(self, now: int, running: Mask) -> None:
        step, out = self.look_at - 1, self.outcomes
        away = self.traffic.blind
        out.outages += running & away[:, step] & ~(away[:, step - 1] & (step > 0))
        looked = running & ~self.traffic.missed[:, step]
        blind, before = looked & self.traffic.blind[:, step], self.stage.copy()
        readable = looked & ~blind
        convicted = self._convict(readable, now)
        going = readable & ~convicted
        broken = self.guardrails.broken(step, now, blind, readable) & going
        held = {"GuardrailBroken": broken, "Blind": blind} | self.experiment.alarms(step, going)
        taken, excused = np.zeros(self.runs, dtype=np.bool_), self._excused(step)
        out.watched += np.where(running, self._step, 0)
        for reason in REASONS:  # in the order of the rules
            out.excused[reason] += np.where(running & excused[reason], self._step, 0)
            these = held[reason] & ~taken
            out.held[reason] += np.where(these, self._step, 0)
            out.holds[reason] += these & (self.reason != reason)
            out.first_held[reason][these & (out.first_held[reason] == NEVER)] = now
            self.reason[these] = reason
            taken |= these
            out.unexplained[reason] |= these & ~excused[reason]
            if reason == "SharedDegradation":
                out.not_doubled |= these & ~self.experiment.troubled(DOUBLED)
        free = going & ~taken
        self.reason[free] = "StageRunning"
        if self._plan is not None:
            out.completed[going & (self.look_at == self.steps)] = now
        elif (due := free & (now >= self.stage_started + self._ends[self.stage])).any():
            self._finish(due, now)
        self._begin_restarts(going & self.running, now)
        out.blind_moves += blind & ((self.stage != before) | ~self.running)

    def _excused(self, step: int) -> dict[str, Mask]:
        """Where the world gives cause to a hold, by its reason: never to a coin or a count that is not as it says."""
        nowhere = np.zeros(self.runs, dtype=np.bool_)
        slow = np.any([nowhere, *self.guardrails.above(step).values()], axis=0)
        trouble = self.experiment.troubled()
        found = {"GuardrailBroken": slow, "Blind": self.traffic.blind[:, step], "SharedDegradation": trouble}
        return {reason: found.get(reason, nowhere) for reason in REASONS}

    def _convict(self, readable: Mask, now: int) -> Mask:
        reached = self._suspicions.reached(self._thresholds) & readable[:, None]
        convicted = np.asarray(reached.any(axis=1), dtype=np.bool_)
        if convicted.any():
            margin = self._suspicions.log_e()[convicted] - self._thresholds
            self.outcomes.rolled_back[convicted] = now
            self.outcomes.convicted_by[convicted] = margin.argmax(axis=1)
            self.reason[convicted] = "CriterionFailed"
        return convicted

    def _finish(self, due: Mask, now: int) -> None:
        """Stages whose time is over: passed, extended, or what `underpowered` says."""
        analysis, out = self.spec.analysis, self.outcomes
        passed = self._passes.passed(due, self.stage)
        overdue = due & ~passed & (now >= self.stage_started + self._ends[self.stage] + analysis.extend.total_seconds())
        self.reason[due & ~passed] = "Extended"
        self.reason[overdue] = "Underpowered"
        ready = passed | (overdue if analysis.underpowered is not Underpowered.HOLD else False)
        asks = self._asks[self.stage] | self.experiment.sticky(self.stage)
        asked = ready & (asks | (overdue & (analysis.underpowered is Underpowered.APPROVE)))
        if windows.closed_until(self.spec.windows, self.start + timedelta(seconds=now)):
            return
        onward = ready & ~asked if not self.approve else ready
        out.people += asked & onward
        self.stage[onward] += 1
        self.stage_started[onward] = now
        done = onward & (self.stage == len(self._ends))
        self.reason[onward] = "StageRunning"
        self.stage[done] -= 1
        out.completed[done] = now

    def _begin_restarts(self, readable: Mask, now: int) -> None:
        begun = now // self._restart
        while (due := readable & (self._restarts < begun)).any():
            self._restarts[due] += 1
            for index in np.unique(self._restarts[due]):
                self._suspicions.restart(int(index), due & (self._restarts == index))

    def _harm_done(self, step: int, begun: Ints, running: Mask) -> None:
        harm = self.world.harm
        if harm is None or step * self._step < harm.onset.total_seconds():
            return
        on_v2 = np.where(running, begun[:, V2].sum(axis=1), 0)
        v1, v2 = (rates[:, _HARMFUL].sum(axis=1) for rates in self.traffic.rates(step))
        self.outcomes.on_v2 += on_v2
        self.outcomes.excess += on_v2 * (v2 - v1)
