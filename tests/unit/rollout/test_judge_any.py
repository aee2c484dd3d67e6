"""Whatever was gathered, the judge answers, and what could not be read is neither a success nor a failure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator_operator.rollout.judging.judge import judge
from orchestrator_operator.rollout.model import Bin, Gathered, Health, Unreadable
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout_status import Phase, Verdict

from tests.support.rollouts import AGES, START, World, spec

if TYPE_CHECKING:
    from collections.abc import Callable

PRESETS = ("failures", "first-attempt-failures", "slower-than-baseline")
SPEC = spec(
    stages=[
        {"name": "one", "percent": 5, "duration": "1h"},
        {"name": "two", "percent": 100, "duration": "1h", "holdback": 1},
    ],
    criteria=[
        *({"name": preset, "type": "comparison", "preset": preset} for preset in PRESETS),
        {"name": "refunds", "type": "comparison", "bad": 'r{engine="$engine"}', "total": 'o{engine="$engine"}'},
        {"name": "stalled", "type": "guardrail", "query": "q", "max": 2},
    ],
)
UNREADABLE = st.builds(Unreadable, st.sampled_from(["Stale", "NoSeries", "NoBaseline"]), st.just("why"))
COUNT = st.integers(0, 3000)
CELLS = st.lists(
    st.builds(Cell, st.sampled_from([Decimal(0), Decimal(5), Decimal(99)]), COUNT, COUNT, COUNT, COUNT),
    unique_by=lambda cell: cell.percent,
).map(tuple)
AMOUNT = st.floats(0, 1e6)
BINS = st.lists(st.builds(Bin, AMOUNT, AMOUNT, AMOUNT, AMOUNT), max_size=6).map(
    lambda found: tuple(replace(item, end=START - timedelta(minutes=len(found) - i)) for i, item in enumerate(found))
)
HEALTH = st.lists(st.builds(Health, st.just("w"), COUNT, COUNT, COUNT, COUNT), max_size=3).map(tuple)


@st.composite
def gathered(draw: Callable[[Any], Any]) -> Gathered:
    """A look at a running stage in which each metric was read, or was not."""
    world = World(SPEC)
    world.cohorts = {(preset, age): draw(CELLS | UNREADABLE) for preset in PRESETS for age in AGES}
    status = world.status.model_copy(
        update={
            "phase": draw(st.sampled_from([Phase.PENDING, Phase.PROGRESSING, Phase.HELD])),
            "stage_index": draw(st.integers(0, 1)),
            "started_at": START - timedelta(days=3),
            "stage_started_at": START - timedelta(minutes=draw(st.integers(0, 60))),
        }
    )
    return replace(
        world.gathered(),
        status=status,
        guardrails={"stalled": draw(st.floats(-10, 10) | UNREADABLE)},
        own={"refunds": draw(BINS | UNREADABLE)},
        starts=draw(CELLS | UNREADABLE),
        calibration=draw(CELLS | UNREADABLE),
        health=draw(HEALTH | UNREADABLE),
        keyed=draw(st.none() | COUNT),
    )


@settings(max_examples=40)  # each look has dozens of draws
@given(gathered())
def test_a_comparison_fails_by_evidence_alone(found: Gathered) -> None:
    for judged in judge(found).criteria[:4]:
        convicted = judged.verdict is Verdict.FAIL
        assert judged.sentence
        if judged.log_evidence is not None and judged.log_threshold is not None:
            assert convicted == (judged.log_evidence >= judged.log_threshold)
        else:
            assert not convicted


@settings(max_examples=40)  # each look has dozens of draws
@given(gathered())
def test_only_what_was_read_passes_or_fails(found: Gathered) -> None:
    readings = [[found.cohorts[preset, age] for age in AGES] for preset in PRESETS]
    readings += [[found.own["refunds"]], [found.guardrails["stalled"]]]
    for judged, looked_at in zip(judge(found).criteria, readings, strict=True):
        unread = [reading for reading in looked_at if isinstance(reading, Unreadable)]
        if len(unread) == len(looked_at):
            assert judged.verdict in (Verdict.BLIND, Verdict.NOT_APPLICABLE)
        elif unread:
            assert judged.verdict is not Verdict.PASS
        else:
            assert judged.verdict is not Verdict.BLIND


@settings(max_examples=40)  # each look has dozens of draws
@given(gathered())
def test_no_alarm_comes_from_what_was_not_read(found: Gathered) -> None:
    source = {
        "SampleRatioMismatch": found.starts,
        "NotCalibrated": found.calibration,
        "SharedDegradation": found.health,
    }
    for alarm in judge(found).alarms:
        assert not isinstance(source[alarm.reason], Unreadable)
