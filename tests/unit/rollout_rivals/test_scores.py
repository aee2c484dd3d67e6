from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.benchmarks.rollout import rival_tables
from tests.benchmarks.rollout.rivals import Outcome, families
from tests.benchmarks.rollout.scores import Setting, false_rollbacks, frontier, judged, matched, score, settings
from tests.benchmarks.rollout.trace import FOUR_WEEKS, HOUR, Trace, coins, plan

NEVER = math.inf


def trace(runs: int = 4, onset: float | None = None, outage: np.ndarray | None = None, hours: int = 20) -> Trace:
    counts = np.full((runs, hours), 10)
    bad = np.full((runs, hours), 2)
    effect = 1.0 if onset is None else 2.0
    percent = np.full(hours, 5.0)
    return Trace("w", HOUR, percent, counts, bad, counts, bad, outage=outage, onset=onset, effect=effect)


def outcome(rolled_back: list[float], held: list[float] | None = None, completed: list[float] | None = None) -> Outcome:
    """Hours, made seconds."""
    nothing = [NEVER] * len(rolled_back)
    return Outcome(*(np.array(hours) * HOUR for hours in (rolled_back, held or nothing, completed or nothing)))


def test_in_a_null_world_every_rollback_and_every_hold_is_false() -> None:
    found = judged("r", trace(), outcome([3, NEVER, NEVER, 5], held=[NEVER, 2, NEVER, NEVER]))
    assert (found.rolled_back_falsely.count, found.held_falsely.count, found.caught) == (2, 1, None)


def test_a_rollback_before_the_onset_is_false_and_catches_nothing() -> None:
    found = judged("r", trace(onset=10 * HOUR), outcome([3, 12, 14, NEVER]))
    assert found.caught is not None
    assert (found.rolled_back_falsely.count, found.caught.count, found.caught.runs) == (1, 2, 3)


def test_delay_counts_from_the_onset() -> None:
    found = judged("r", trace(onset=10 * HOUR), outcome([11, 12, 14, 19]))
    assert (found.hours.median, found.hours.p90) == (2.0, 9.0)


def test_a_run_that_is_never_caught_takes_for_ever() -> None:
    found = judged("r", trace(onset=10 * HOUR), outcome([11, NEVER, NEVER, 12]))
    assert (found.hours.median, found.hours.p90) == (2.0, NEVER)


def test_excess_failures_are_those_since_the_onset_that_the_effect_explains() -> None:
    """Two bad ones an hour, twice as many as without the fault: one an hour is V2's."""
    found = judged("r", trace(runs=1, onset=10 * HOUR), outcome([14]))
    assert found.excess == pytest.approx(4.0)


def test_a_run_that_never_got_through_took_for_ever() -> None:
    found = judged("r", trace(), outcome([NEVER, NEVER, 5, NEVER], completed=[20, 24, NEVER, 22]))
    assert (found.to_all.median, found.to_all.p90) == (22.0, NEVER)


def test_actions_are_counted_for_each_outage_that_a_run_met() -> None:
    outage = np.zeros((4, 20), dtype=bool)
    outage[:, 5:7] = True
    # Within it, soon after, long after, and before: this last run never met it.
    found = judged("r", trace(outage=outage), outcome([6, 7.5, 15, 2]))
    assert found.actions_per_outage == pytest.approx(2 / 3)


def test_without_an_outage_there_is_no_such_rate() -> None:
    assert math.isnan(judged("r", trace(), outcome([NEVER] * 4)).actions_per_outage)


# -- rules at the same rate


@dataclass(frozen=True)
class After:
    """Rolls back after a delay where V2 is bad, and in some null runs."""

    hours: float
    false: int
    name: str = field(default="after")

    def decide(self, data: Trace) -> Outcome:
        if data.null:
            return outcome([1.0] * self.false + [NEVER] * (data.runs - self.false))
        return outcome([data.onset / HOUR + self.hours] * data.runs)


NULL, BAD = trace(runs=10), trace(runs=10, onset=2 * HOUR)
FAMILY = [After(1.0, false=5), After(4.0, false=1), After(6.0, false=1), After(9.0, false=0)]


def measured(family: list) -> list[Setting]:
    return settings(false_rollbacks(family, [NULL]), BAD)


def test_the_fastest_setting_that_keeps_the_rate_is_compared() -> None:
    best = matched(measured(FAMILY), at_most=0.1)
    assert best is not None
    assert best.rule == After(4.0, false=1)


def test_a_family_that_cannot_keep_the_rate_has_no_delay_to_compare() -> None:
    assert matched(measured(FAMILY[:3]), at_most=0.05) is None


def test_the_worst_null_world_decides_over_a_setting() -> None:
    @dataclass(frozen=True)
    class Moody(After):
        def decide(self, data: Trace) -> Outcome:
            return After(self.hours, 3 if data.runs == 6 else 0).decide(data)

    ((_, share),) = false_rollbacks([Moody(1.0, 0)], [NULL, trace(runs=6)])
    assert (share.count, share.runs) == (3, 6)


def test_a_hopeless_setting_is_tried_in_no_further_world() -> None:
    never_reached = trace(runs=3)
    ((_, share),) = false_rollbacks([After(1.0, false=3)], [NULL, never_reached], hopeless=0.2)
    assert (share.count, share.runs) == (3, 10)


@pytest.mark.parametrize(("false", "runs"), [(150, 200), (20, 500)])
def test_a_few_runs_are_enough_to_say_that_a_setting_is_hopeless_and_all_count_for_any_other(
    false: int, runs: int
) -> None:
    ((_, share),) = false_rollbacks([After(1.0, false)], [trace(runs=500)], hopeless=0.2)
    assert (share.count, share.runs) == (false, runs)


def test_the_frontier_has_the_settings_that_no_other_beats() -> None:
    found = [setting.rule for setting in frontier(measured(FAMILY))]
    assert found == [After(9.0, false=0), After(4.0, false=1), After(1.0, false=5)]


def test_the_documented_settings_run_on_the_default_plan() -> None:
    world = coins(plan(FOUR_WEEKS, HOUR / 4), HOUR / 4, runs=3, per_hour=1000.0, base=0.01)
    assert len({score(rule, world).rule for rule in families.as_documented()}) == 4


def test_the_tables_are_made_from_the_json_alone() -> None:
    kept, lost = matched(measured(FAMILY), 0.1), {"family": "hasty", "world": "w", "rule": None}
    assert kept is not None
    result = {
        "machine": {"commit": "c0ffee"},
        "seed": 1,
        "runs": 10,
        "harmRuns": 5,
        "atMost": 0.01,
        "documented": [judged("r|s", NULL, outcome([NEVER] * 10)).described()],
        "matched": [kept.described() | {"family": "patient"}, lost],
    }
    told = rival_tables.scores(json.loads(json.dumps(result)))
    assert "| r\\|s | w | 0 % (0-27.8) | - | - | - | - | - |" in told
    assert "| patient | w | 10 % (1.79-40.4) | 100 % | 4.0 | 4.0 |" in told
    assert "| hasty | w | - | - | - | - | - | no setting keeps the rate |" in told


@pytest.mark.parametrize(
    "family",
    [
        families.argo(0.01, background=True),
        families.argo(0.01, background=False),
        families.flagger(0.01),
        families.kayenta(),
    ],
)
def test_every_setting_of_a_family_is_named_by_what_it_is(family: list) -> None:
    assert len({rule.name for rule in family}) == len(family)
