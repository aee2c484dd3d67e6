"""The arrays decide what the controller's judge and plan decide, and the worlds do what their names say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from orchestrator_operator.rollout.simulation.agreement import rehearsed
from orchestrator_operator.rollout.simulation.ensemble import Ensemble
from orchestrator_operator.rollout.simulation.experiment import Experiment
from orchestrator_operator.rollout.simulation.guarded import STALLED
from orchestrator_operator.rollout.simulation.outcomes import NEVER
from orchestrator_operator.rollout.simulation.score import score
from orchestrator_operator.rollout.simulation.traffic import Traffic
from orchestrator_operator.rollout.simulation.world import Harm, Kind, World, worse
from orchestrator_operator.specs.rollout import RolloutSpec, parse_rollout

HOUR = timedelta(hours=1)
CALM = World("calm", load=2000, base=0.02, incidents=0, tenant_incidents=0, batches=0, stalls=0, missed=0)


def spec_stages() -> list[dict[str, Any]]:
    percents = {"one": 10, "two": 50, "three": 100}
    return [{"name": name, "percent": percent, "duration": "16h"} for name, percent in percents.items()]


def spec(**changes: Any) -> RolloutSpec:
    """Two days; all default criteria, with other times."""
    document = {
        "stages": spec_stages(),
        "analysis": {"ages": ["1m", "10m", "4h"], "restart": "6h", "extend": "8h", "underpowered": "Approve"},
        "criteria": [
            {"name": "failures", "type": "comparison", "preset": "failures"},
            {"name": "first-attempts", "type": "comparison", "preset": "first-attempt-failures"},
            {"name": "duration", "type": "comparison", "preset": "slower-than-baseline"},
            {"name": "slow", "type": "guardrail", "preset": "slow-checkpoints", "max": 0.05, "for": "2h"},
            {"name": "stalled", "type": "guardrail", "query": STALLED, "max": 0, "for": "10m"},
        ],
    }
    return parse_rollout(document | changes)


WORLDS = {
    "healthy": World("healthy", load=400, base=0.02),
    "quiet": World("quiet", load=20, base=0.02),
    "x3 from the start": World("x3", load=400, base=0.02, harm=worse(3)),
    "x10 late": World("late", load=400, base=0.02, harm=worse(10, 20 * HOUR)),
    "outage of Prometheus": World("blind", load=400, base=0.02, outages=5 * HOUR, missed=0.1),
    "slow disks": replace(CALM, load=400, stalls=200),
    "executions that stand still": replace(CALM, load=100, base=0.2, harm=Harm(20 * HOUR, stops=0.01)),
    "the same amid incidents": World("w", load=300, base=0.1, incidents=30, harm=Harm(stops=0.001)),
    "long steps": replace(CALM, load=400, long=0.6, over_a_day=0.1),
    "failovers all the time": replace(CALM, load=400, stalls=200, missed=0.3),
    "a key sends some": replace(CALM, load=800, keyed=0.1),
    "a key sends many": replace(CALM, load=4000, keyed=0.5),
}


@pytest.mark.parametrize("name", WORLDS)
def test_the_arrays_decide_what_judge_and_plan_decide(name: str) -> None:
    ensemble = Ensemble(WORLDS[name], spec(), runs=2, step=2 * HOUR, seed=4)
    assert list(rehearsed(ensemble, range(2), every=2 * HOUR)) == []


SPECS = {
    "a holdback": spec(stages=[*spec_stages()[:2], {"name": "x", "percent": 100, "duration": "16h", "holdback": 5}]),
    "a stage that asks": spec(stages=[spec_stages()[0], spec_stages()[1] | {"approval": True}, spec_stages()[2]]),
    "a window": spec(windows={"promote": ["Mon-Fri 09:00-17:00"]}),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("approve", [True, False])
def test_they_agree_on_every_kind_of_stage(name: str, approve: bool) -> None:
    world = replace(CALM, load=3000)
    ensemble = Ensemble(world, SPECS[name], runs=2, step=2 * HOUR, seed=6, approve=approve)
    assert list(rehearsed(ensemble, range(2), every=2 * HOUR)) == []


@pytest.mark.parametrize("underpowered", ["Hold", "Promote"])
def test_they_agree_on_what_an_underpowered_stage_does(underpowered: str) -> None:
    document = {"ages": ["1m", "4h"], "restart": "6h", "extend": "4h", "underpowered": underpowered}
    ensemble = Ensemble(WORLDS["quiet"], spec(analysis=document), runs=1, step=2 * HOUR, seed=5)
    assert list(rehearsed(ensemble, range(1), every=2 * HOUR)) == []


def outcome(world: World, runs: int = 60) -> Any:
    return Ensemble(world, spec(), runs=runs, step=timedelta(minutes=30), seed=7).run()


def test_a_healthy_v2_arrives() -> None:
    found = outcome(CALM)
    assert (found.completed != NEVER).mean() > 0.9


def test_a_v2_that_fails_five_times_as_often_is_rolled_back_every_time() -> None:
    assert (outcome(replace(CALM, harm=worse(5))).rolled_back != NEVER).all()


def test_nothing_is_convicted_before_the_onset_of_its_harm() -> None:
    onset = 10 * HOUR
    found = outcome(replace(CALM, harm=worse(5, onset)))
    assert (found.rolled_back > onset.total_seconds()).mean() > 0.9


def test_a_fault_that_retries_hide_is_convicted_by_first_attempts() -> None:
    hidden = replace(CALM, transient=0.004, harm=Harm(times={Kind.TRANSIENT: 20.0}))
    found = outcome(hidden)
    names = {found.keys[pair][0] for pair in found.convicted_by[found.rolled_back != NEVER]}
    assert (found.rolled_back != NEVER).mean() > 0.9
    assert names == {"first-attempt-failures"}


def test_a_slower_v2_is_convicted_by_its_durations() -> None:
    found = outcome(replace(CALM, harm=Harm(times={Kind.SLOW: 3.0})))
    assert {found.keys[pair][0] for pair in found.convicted_by[found.rolled_back != NEVER]} == {"slower-than-baseline"}


def test_a_v2_that_harms_both_arms_is_held_for_shared_degradation() -> None:
    found = outcome(replace(CALM, harm=Harm(both=4.0)))
    assert (found.held["SharedDegradation"] > 0).all()


def test_nothing_moves_and_nobody_is_convicted_while_prometheus_is_away() -> None:
    ensemble = Ensemble(replace(CALM, outages=10 * HOUR, harm=worse(20)), spec(), runs=40, step=HOUR, seed=3)
    while ensemble.look_at < ensemble.steps and ensemble.running.any():
        before, running = ensemble.stage.copy(), ensemble.running
        ensemble.advance()
        away = ensemble.traffic.blind[:, ensemble.look_at - 1] & running
        assert (ensemble.stage[away] == before[away]).all()
        assert ensemble.running[away].all()


def test_every_outage_of_prometheus_that_a_rollout_meets_holds_it_once() -> None:
    found = outcome(replace(CALM, outages=5 * HOUR), runs=100)
    assert 0 < found.outages.sum() == pytest.approx(found.holds["Blind"].sum(), rel=0.05)
    assert found.blind_moves.sum() == 0


def test_the_same_seed_gives_the_same_outcome() -> None:
    first, again = (score(CALM, outcome(CALM, runs=8)).described() for _ in range(2))
    assert first == again


def test_the_default_guardrails_are_those_that_are_simulated() -> None:
    assert [item.query for item in RolloutSpec().guardrails if not item.preset] == [STALLED]


def test_an_execution_that_stands_still_holds_the_rollout_until_a_person_sees_to_it() -> None:
    slow = replace(CALM, load=100, base=0.2, harm=Harm(stops=0.002))
    found = Ensemble(slow, spec(), runs=40, step=timedelta(minutes=30), seed=7).run()
    assert (found.holds["GuardrailBroken"] == 1).mean() > 0.9
    assert ((found.completed == NEVER) | (found.holds["GuardrailBroken"] == 0)).all()


def test_in_a_healthy_world_nothing_stands_still() -> None:
    assert (outcome(CALM).holds["GuardrailBroken"] == 0).all()


LONG = replace(CALM, long=0.4, over_a_day=0.05, harm=Harm(times=dict.fromkeys(Kind, 1.0)))


def test_long_steps_are_no_failure_at_ten_minutes_and_what_outlasts_the_last_age_is_one_there_on_both_engines() -> None:
    counts = {}
    for engine in (0, 1):
        ensemble = Ensemble(
            LONG,
            spec(stages=[{"name": "one", "percent": 100, "duration": "1d", "holdback": 50}]),
            runs=50,
            step=HOUR,
            seed=2,
        )
        for _ in range(20):
            ensemble.advance()
        totals = ensemble.counting.totals.sum(axis=(0, 1))
        for (name, age), row in zip(ensemble.counting.keys, totals.tolist(), strict=True):
            counts[engine, name, age] = row[2 * engine] / (row[2 * engine] + row[2 * engine + 1])
    for engine in (0, 1):
        assert counts[engine, "failures", timedelta(minutes=10)] == pytest.approx(0.02 * 0.85 * 0.6, rel=0.1)
        assert counts[engine, "failures", 4 * HOUR] == pytest.approx(0.02 + 0.05, rel=0.1)
        assert counts[engine, "slower-than-baseline", timedelta(minutes=10)] == pytest.approx(
            0.6 * 0.05 + 0.001, rel=0.1
        )
        assert counts[engine, "slower-than-baseline", 4 * HOUR] == pytest.approx(0.05 + 0.05 + 0.001, rel=0.1)
        assert counts[engine, "first-attempt-failures", 4 * HOUR] == pytest.approx(0.02 * 0.95, rel=0.1)


def test_where_steps_take_hours_a_healthy_v2_is_not_rolled_back_and_one_that_makes_them_longer_is() -> None:
    assert (outcome(LONG).rolled_back == NEVER).mean() > 0.95
    longer = outcome(replace(LONG, harm=Harm(times={Kind.OVER_A_DAY: 2.0})))
    assert (longer.rolled_back != NEVER).all()
    assert {longer.keys[pair][1] for pair in longer.convicted_by} == {4 * HOUR}


# -- which holds are excused


def excused(world: World, runs: int = 60) -> dict[str, float]:
    return score(world, outcome(world, runs)).excused


def test_in_a_calm_world_nothing_is_excused() -> None:
    assert set(excused(CALM).values()) == {0.0}


def test_each_cause_excuses_the_hold_that_it_brings_and_no_other() -> None:
    causes = {
        "GuardrailBroken": replace(CALM, stalls=20),
        "Blind": replace(CALM, outages=5 * HOUR),
        "SharedDegradation": replace(CALM, incidents=20),
    }
    for reason, world in causes.items():
        assert {name for name, share in excused(world).items() if share} == {reason}


def test_one_tenants_incident_excuses_only_where_all_failures_of_v1_grow_by_it() -> None:
    few = excused(replace(CALM, tenant_incidents=7, tenants=2000, zipf=0.2))["SharedDegradation"]
    all_of_them = excused(replace(CALM, tenant_incidents=7, tenants=1))["SharedDegradation"]
    assert few == 0
    assert 0.02 < all_of_them < 0.2


def test_a_hold_by_a_wrong_coin_or_a_wrong_count_is_never_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = replace(CALM, incidents=50, tenant_incidents=50, stalls=50, outages=5 * HOUR)
    assert not {"SampleRatioMismatch", "NotCalibrated"} & {name for name, share in excused(everything).items() if share}
    alarms = Experiment.alarms

    def wrong(self: Experiment, step: int, going: Any) -> Any:
        return alarms(self, step, going) | {"SampleRatioMismatch": going}

    monkeypatch.setattr(Experiment, "alarms", wrong)
    found = score(everything, outcome(everything, runs=20))
    assert found.falsely_held.value == 1
    assert found.falsely_held_for["SampleRatioMismatch"] == 20


def test_a_detector_that_speaks_without_cause_is_counted_as_false_in_a_world_full_of_other_accidents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten times the tenants' incidents and a slow disk all day are no excuse for SharedDegradation."""
    noisy = replace(CALM, tenant_incidents=70, tenants=2000, zipf=0.2, stalls=100)
    alarms = Experiment.alarms
    monkeypatch.setattr(Experiment, "alarms", lambda *given: alarms(*given) | {"SharedDegradation": given[2]})
    assert score(noisy, outcome(noisy, runs=20)).falsely_held_for["SharedDegradation"] == 20


def test_how_much_worse_v1_is_follows_from_what_happens_and_not_from_the_hours_of_its_tenants() -> None:
    calm, hit = (
        Traffic(world, 30, 168, HOUR, np.random.default_rng(1)) for world in (replace(CALM, odds=3.0), INCIDENT)
    )
    assert all((calm.trouble(step) == 1).all() for step in range(168))
    assert max(hit.trouble(step).max() for step in range(168)) == pytest.approx(1 + 0.5 / 0.02)
    both = Traffic(replace(CALM, harm=Harm(2 * HOUR, both=3.0)), 1, 3, HOUR, np.random.default_rng(1))
    assert [both.trouble(step)[0] for step in range(3)] == [1.0, 1.0, 3.0]


INCIDENT = replace(CALM, tenant_incidents=1, tenants=1)  # half of all executions fail

# -- the same data as a rival's


def test_on_the_plan_the_percent_follows_it_whatever_is_decided() -> None:
    ensemble = Ensemble(replace(CALM, harm=worse(20)), spec(), runs=5, step=HOUR, seed=1, on_plan=True)
    stages = []
    while ensemble.look_at < ensemble.steps and ensemble.running.any():
        ensemble.advance()
        stages.append(int(ensemble.stage[0]))
    assert stages == [hour // 16 for hour in range(len(stages))]
    assert (ensemble.outcomes.rolled_back != NEVER).all()


def test_on_the_plan_a_healthy_v2_ends_with_it() -> None:
    found = Ensemble(CALM, spec(), runs=5, step=HOUR, seed=1, on_plan=True).run()
    assert found.completed.tolist() == [48 * 3600] * 5


def test_every_execution_is_counted_once_at_every_age() -> None:
    ensemble = Ensemble(CALM, spec(), runs=3, step=HOUR, seed=1)
    begun = []
    for _ in range(20):
        ensemble.advance()
        begun.append(ensemble.experiment.starts.sum(axis=(1, 2)))
    for pair, (_, age) in enumerate(ensemble.counting.keys):
        lag = -(-age // HOUR)
        assert np.array_equal(ensemble.counting.totals[:, :, pair].sum(axis=(1, 2)), begun[-1 - lag])


def test_where_a_key_sends_many_a_person_is_asked_at_every_promotion_and_where_it_sends_few_at_none() -> None:
    calm = replace(CALM, load=4000)
    assert (outcome(replace(calm, keyed=0.5), runs=20).people == len(spec().stages)).mean() > 0.9
    assert (outcome(replace(calm, keyed=0.1), runs=20).people == 0).mean() > 0.9


def test_customers_that_a_key_sends_stay_where_they_are_until_the_percent_moves_them_to_v2() -> None:
    keyed = Ensemble(replace(CALM, keyed=0.5), spec(), runs=50, step=HOUR, seed=1).experiment.keyed
    assert keyed is not None
    all_v1 = np.array([keyed.count(0, np.full(50, stage), np.full(50, 0.02))[1] for stage in range(3)])
    assert all_v1[2].sum() == 0
    assert all_v1[0].mean() > all_v1[1].mean() > 0
    shares = keyed.counts / keyed.counts.sum(axis=1, keepdims=True)
    assert shares == pytest.approx(np.full((50, 3), 1 / 3), abs=0.1)


def test_keyed_customers_differ_in_how_often_they_fail_so_the_engines_differ_by_chance() -> None:
    """The reason why no comparison may judge them."""
    keyed = Ensemble(replace(CALM, keyed=0.5), spec(), runs=400, step=HOUR, seed=1).experiment.keyed
    assert keyed is not None
    half = keyed._failing_on_v1[:, 1] / keyed._on_v1[:, 1]
    assert np.std(half) > 0.15
    assert np.mean(half) == pytest.approx(1, abs=0.1)
