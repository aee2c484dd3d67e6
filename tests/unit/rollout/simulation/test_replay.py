"""A recorded history is judged by the controller's own judge and plan, and its figures can be checked by anybody."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from orchestrator_operator.rollout.simulation.history import Row
from orchestrator_operator.rollout.simulation.replay import Replayed, replay
from orchestrator_operator.rollout.simulation.showing import described
from orchestrator_operator.rollout.statistics import evidence
from orchestrator_operator.specs.rollout import RolloutSpec, parse_rollout
from scipy import stats
from scipy.special import logsumexp

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
AGES = ("1m", "10m")


def spec(**analysis: Any) -> RolloutSpec:
    return parse_rollout(
        {
            "stages": [
                {"name": "one", "percent": 5, "duration": "12h"},
                {"name": "two", "percent": 25, "duration": "12h"},
                {"name": "three", "percent": 100, "duration": "1h"},
            ],
            "criteria": [
                {"name": "failures", "type": "comparison", "preset": "failures"},
                {"name": "first-attempts", "type": "comparison", "preset": "first-attempt-failures"},
            ],
            "analysis": {"ages": list(AGES), "restart": "5h", "underpowered": "Approve", "extend": "2h", **analysis},
        }
    )


SPEC = spec()


def rows(hours: int, bad: Any, *, chosen: RolloutSpec = SPEC, seed: int = 3) -> list[Row]:
    """An hour a row for every criterion and age; `bad` gives V2's chance to fail by hour."""
    rng, found = np.random.default_rng(seed), []
    for hour in range(hours):
        for criterion in chosen.comparisons:
            for age in chosen.analysis.ages:
                percent = Decimal(5) if hour < 12 else Decimal(25)
                n2 = int(rng.binomial(1000, float(percent) / 100))
                k1, k2 = int(rng.binomial(1000 - n2, 0.02)), int(rng.binomial(n2, bad(hour)))
                found.append(Row(0, START + hour * HOUR, criterion, age, percent, (1000 - n2, k1, n2, k2)))
    return found


def replayed(hours: int, bad: Any, *, approve: bool = False, chosen: RolloutSpec = SPEC) -> list[Replayed]:
    return list(replay(chosen, rows(hours, bad, chosen=chosen), approve=approve))


def healthy(_hour: int) -> float:
    return 0.02


def broken(hour: int) -> float:
    return 0.02 if hour < 6 else 0.4


# -- the figures, by other arithmetic than the product's


def ratio(history: list[Row], alternative: float, column: int) -> float:
    """Ln of the likelihood ratio of these executions' coins, as scipy.stats has the binomial: 1 bad, 0 good ones."""
    total = 0.0
    by_percent: dict[Decimal, list[int]] = defaultdict(lambda: [0, 0])
    for row in history:
        assert row.counts is not None
        n1, k1, n2, k2 = row.counts
        v1, v2 = (k1, k2) if column else (n1 - k1, n2 - k2)
        by_percent[row.percent][0] += v1
        by_percent[row.percent][1] += v2
    for percent, (v1, v2) in by_percent.items():
        p = float(percent) / 100
        q = p * alternative / (p * alternative + 1 - p)
        total += stats.binom.logpmf(v2, v1 + v2, q) - stats.binom.logpmf(v2, v1 + v2, p)
    return total


PSIS, PHIS = (1.25, 1.5, 2, 3, 5, 10, 30, 100), (1, 0.5, 0.1, 0.01)
BAD_ALONE = {(psi, 1): 1 / 8 for psi in PSIS}
EVEN = {(psi, phi): 1 / 32 for psi in PSIS for phi in PHIS}
DECIDING = {(psi, 1): w for psi, w in zip(PSIS, (0.02, 0.09, 0.16, 0.12, 0.18, 0.06, 0.02, 0.01), strict=True)}
DECIDING |= {(30, 0.5): 0.02, (30, 0.1): 0.02, (10, 0.01): 0.1, (30, 0.01): 0.15, (100, 0.01): 0.05}
Pairs = dict[tuple[float, float], float]


def log_e(history: list[Row], pairs: Pairs) -> float:
    logs = [ratio(history, psi, 1) + ratio(history, phi, 0) for psi, phi in pairs]
    return float(logsumexp(logs, b=list(pairs.values())))


def by_hand(history: list[Row], pairs: Pairs, *, restarts: bool = True, for_whole: float = 0.5) -> float:
    """The evidence at the last row, as docs/rollout-evidence.md says it."""
    whole, rest = log_e(history, pairs), 1 - for_whole
    if not restarts:
        return whole
    planned, end = 5, history[-1].start + HOUR  # ⌈25 h / 5 h⌉
    logs, waits = [whole, whole], 1.0
    weights = []
    for index in range(100):
        begins = START + index * timedelta(hours=5)
        if begins > end:
            break
        weight = (0.9 / planned if index < planned else 0) + 0.1 * 6 / math.pi**2 / (index + 1) ** 2
        weights.append(weight)
        waits -= weight
        if index:
            logs.append(log_e([row for row in history if row.start >= begins], pairs))
    return float(logsumexp([*logs, 0.0], b=[for_whole, *(rest * weight for weight in weights), rest * waits]))


@pytest.mark.parametrize("hours", [1, 5, 6, 11, 17, 24])
def test_the_evidence_can_be_checked_by_hand(hours: int) -> None:
    one = next(
        found
        for found in reversed(replayed(hours, broken))
        if found.row.preset == "failures" and found.row.age == timedelta(minutes=10)
    )
    mine = [row for row in rows(hours, broken) if (row.preset, row.age) == ("failures", timedelta(minutes=10))]
    assert one.numbers.bad_alone == pytest.approx(by_hand(mine, BAD_ALONE, restarts=False), rel=1e-9)
    assert one.numbers.bad == pytest.approx(by_hand(mine, BAD_ALONE), rel=1e-9)
    assert one.numbers.full == pytest.approx(by_hand(mine, EVEN), rel=1e-9)
    assert one.numbers.judged == pytest.approx(by_hand(mine, DECIDING, for_whole=0.75), rel=1e-9)
    assert one.numbers.threshold == pytest.approx(math.log(1 / (0.5 * 0.01)))


def test_a_verdict_is_fail_from_the_moment_on_that_the_evidence_is_above_its_threshold() -> None:
    for moment in moments(replayed(14, broken)):
        for preset in ("failures", "first-attempt-failures"):
            those = [one for one in moment if one.row.preset == preset]
            above = any((one.numbers.judged or 0) >= one.numbers.threshold for one in those)
            assert {one.judged.verdict.value == "Fail" for one in those} == {above}


def moments(found: list[Replayed]) -> list[list[Replayed]]:
    by_start: dict[datetime, list[Replayed]] = defaultdict(list)
    for one in found:
        by_start[one.row.start].append(one)
    return list(by_start.values())


# -- what the controller would have done


def test_every_row_is_told_also_after_a_rollback() -> None:
    given, found = rows(20, broken), replayed(20, broken)
    assert [one.row.start for one in found] == [row.start for row in given]
    over = [one for one in found if one.status.phase.value == "RolledBack"]
    assert len({one.numbers.full for one in over if one.row.preset == "failures"}) > 10


def test_a_rollback_leaves_nothing_to_v2() -> None:
    last = replayed(20, broken)[-1]
    assert (last.status.phase.value, last.status.percent, last.status.reason) == ("RolledBack", "0", "CriterionFailed")


def test_the_decision_is_told_in_the_row_that_it_was_made_in_and_in_no_other() -> None:
    told = [[decision.action for decision in moment[0].decisions] for moment in moments(replayed(20, broken))]
    assert told[0][0] == "Start"
    assert [actions for actions in told if "RollBack" in actions] == [["RollBack", "RolledBack"]]
    assert sum("Start" in actions for actions in told) == 1


def test_restarts_go_on_after_a_rollback() -> None:
    """Without them the evidence by hand would differ; here they simply go on growing in number."""
    late = replayed(30, broken)[-1]
    mine = [row for row in rows(30, broken) if (row.preset, row.age) == (late.row.preset, late.row.age)]
    assert late.numbers.full == pytest.approx(by_hand(mine, EVEN), rel=1e-9)


def test_a_stage_that_does_not_pass_waits_for_a_person() -> None:
    last = replayed(16, healthy)[-1]
    assert (last.status.phase.value, last.status.stage) == ("AwaitingApproval", "one")


def test_with_approve_a_person_says_yes() -> None:
    last = replayed(16, healthy, approve=True)[-1]
    assert (last.status.phase.value, last.status.stage, last.status.percent) == ("Progressing", "two", "25")


def test_a_stage_ends_on_time_between_two_rows() -> None:
    chosen = spec(minimumExecutions=0, underpowered="Promote", extend="0s")
    given = [row for row in rows(16, healthy, chosen=chosen) if (row.start - START) % (5 * HOUR) == timedelta(0)]
    promoted = [decision for one in replay(chosen, given) for decision in one.decisions if decision.action == "Promote"]
    assert promoted[0].at == START + 12 * HOUR


def test_an_interval_that_could_not_be_read_blinds_and_loses_nothing() -> None:
    given = rows(6, healthy)
    hidden = [row for row in given if row.start == START + 3 * HOUR]
    gap = [Row(row.line, row.start, row.criterion, row.age, row.percent, None) for row in hidden]
    told = list(replay(SPEC, [row for row in given if row not in hidden][:12] + gap + given[16:]))
    (held,) = {one.status.reason for one in told if one.row.start == START + 3 * HOUR}
    assert held == "Blind"
    assert told[-1].status.phase.value == "Progressing"
    assert {one.judged.verdict.value for one in told if one.row.counts is None} == {"Blind"}


def test_nothing_is_lost_of_what_was_counted() -> None:
    given = rows(20, healthy)
    last = list(replay(SPEC, given))[-1]
    mine = [row.counts for row in given if (row.preset, row.age) == (last.row.preset, last.row.age) and row.counts]
    assert evidence.totals(last.cells) == tuple(sum(counts[place] for counts in mine) for place in (1, 0, 3, 2))


def test_guardrails_are_left_out() -> None:
    guarded = parse_rollout(
        {
            "criteria": [
                {"name": "failures", "type": "comparison", "preset": "failures"},
                {"name": "slow", "type": "guardrail", "preset": "slow-checkpoints", "max": 0.05},
            ]
        }
    )
    criterion = guarded.comparisons[0]
    row = Row(2, START, criterion, timedelta(minutes=10), Decimal(5), (95, 1, 5, 0))
    (one,) = replay(guarded, [row])
    assert one.status.phase.value == "Progressing"


def test_json_has_every_number_at_full_precision() -> None:
    one = replayed(3, healthy)[-1]
    told = described(one)
    assert told["logEvidence"] == one.numbers.full
    assert told["logEvidenceJudged"] == one.numbers.judged
    assert told["logEvidenceBad"] == one.numbers.bad
    assert told["logEvidenceBadNoRestarts"] == one.numbers.bad_alone
    assert (told["percent"], told["action"], told["observed"]["percent"]) == (5.0, "Continue", 5.0)


def test_counts_that_do_not_fit_their_percent_hold() -> None:
    criterion, ages = SPEC.comparisons[0], SPEC.analysis.ages
    wrong = [Row(0, START + hour * HOUR, criterion, ages[0], Decimal(5), (800, 8, 200, 2)) for hour in range(4)]
    last = list(replay(SPEC, wrong))[-1]
    assert (last.status.phase.value, last.status.reason) == ("Held", "SampleRatioMismatch")


# -- counters of a user's own


def own(hours: int, bad: float) -> list[Replayed]:
    """Refunds by the hour: 5 % of the orders, on V2 so many."""
    chosen = parse_rollout(
        {
            "criteria": [
                {"name": "failures", "type": "comparison", "preset": "failures"},
                {
                    "name": "refunds",
                    "type": "comparison",
                    "bad": 'refunds_total{engine="$engine"}',
                    "total": 'orders_total{engine="$engine"}',
                },
            ]
        }
    )
    refunds, rng = chosen.comparisons[1], np.random.default_rng(5)
    found = []
    for hour in range(hours):
        k1, k2 = int(rng.binomial(500, 0.05)), int(rng.binomial(500, bad))
        found.append(Row(0, START + hour * HOUR, refunds, None, Decimal(50), (500, k1, 500, k2)))
    return list(replay(chosen, found))


def test_a_counter_of_a_user_s_own_is_judged_by_its_bins() -> None:
    last = own(24, 0.2)[-1]
    assert (last.judged.verdict.value, last.status.reason) == ("Fail", "CriterionFailed")
    assert (last.numbers.bad_alone, last.numbers.bad) == (None, None)
    assert last.numbers.full is not None
    assert last.numbers.full > last.numbers.threshold


def test_a_healthy_counter_of_a_user_s_own_convicts_nobody() -> None:
    assert own(24, 0.05)[-1].status.phase.value == "Progressing"
