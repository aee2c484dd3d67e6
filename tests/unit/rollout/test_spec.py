"""What an EngineRollout may say: defaults, refusals with their paths, and the status round trip."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from orchestrator_operator.specs.rollout import parse_rollout
from orchestrator_operator.specs.rollout_status import (
    Decision,
    FlagIntent,
    Phase,
    RolloutStatus,
    read_status,
    write_status,
)

from orchestrator.errors import InvalidInput
from tests.support.rollouts import DOCUMENT, START


def test_an_empty_spec_is_the_four_weeks_of_the_design() -> None:
    spec = parse_rollout({})
    assert [(str(stage.percent), stage.duration.days) for stage in spec.stages] == [
        ("5", 7),
        ("25", 7),
        ("50", 7),
        ("100", 7),
    ]
    assert spec.analysis.ages == (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=24))
    assert (spec.deadman, spec.rollback.cooldown) == (timedelta(hours=6), timedelta(hours=24))


def test_a_share_is_the_decimal_that_was_written() -> None:
    stages = [{"name": "a", "percent": 12.3, "duration": "1h"}, {"name": "b", "percent": 100, "duration": "1h"}]
    assert parse_rollout({**DOCUMENT, "stages": stages}).stages[0].percent == Decimal("12.3")


@pytest.mark.parametrize("value", [0, "0", "0s"])
def test_deadman_and_extend_can_be_switched_off(value: Any) -> None:
    spec = parse_rollout({"deadman": value, "analysis": {"extend": value}})
    assert spec.deadman == spec.analysis.extend == timedelta(0)


def _stages(*percents: Any, duration: Any = "1h") -> dict[str, Any]:
    return {
        "stages": [{"name": f"s{i}", "percent": percent, "duration": duration} for i, percent in enumerate(percents)]
    }


def _criterion(**fields: Any) -> dict[str, Any]:
    failures = {"name": "failures", "type": "comparison", "preset": "failures"}
    return {"criteria": [failures, {"name": "x", **fields}]}


_ALL_OF_IT: dict[str, Any] = {"name": "all", "percent": 100, "duration": "1h"}
_OWN = {"bad": 'shop_refunds_total{engine="$engine"}', "total": 'shop_orders_total{engine="$engine"}'}


def _held_back(share: Any, first: Any = 5) -> dict[str, Any]:
    stages = [{"name": "first", "percent": first, "duration": "1h"}, {**_ALL_OF_IT, "holdback": share}]
    return {"stages": stages}


def _own(**fields: Any) -> dict[str, Any]:
    given = {key: value for key, value in {**_OWN, **fields}.items() if value is not None}
    return _criterion(type="comparison", **given)


def _windows(**fields: Any) -> dict[str, Any]:
    return {"windows": fields}


def _webhook(**fields: Any) -> dict[str, Any]:
    return {"notify": {"webhook": {"secret": "rollout-webhook", "key": "url", **fields}}}


WRONG: list[tuple[dict[str, Any], str, str]] = [
    (_stages(50, 25, 100), "spec.stages[1].percent", "does not ascend"),
    (_stages(50, 50, 100), "spec.stages[1].percent", "does not ascend"),
    (_stages(5, 25), "spec.stages[1].percent", "the last stage must have 100"),
    (_stages(5.125, 100), "spec.stages[0].percent", "more than two places"),
    (_stages(0, 100), "spec.stages[0].percent", "not above 0"),
    (_stages(5, 120), "spec.stages[1].percent", "at most 100"),
    (_stages("NaN", 100), "spec.stages[0].percent", ""),
    (_stages("many", 100), "spec.stages[0].percent", ""),
    (_stages(100, duration="a week"), "spec.stages[0].duration", "30s, 10m, 2h or 7d"),
    (_stages(100, duration=7), "spec.stages[0].duration", "not a duration"),
    (_stages(100, duration="0s"), "spec.stages[0].duration", "longer than nothing"),
    (_stages(100, duration="30s"), "spec.stages[0].duration", "shorter than the first of spec.analysis.ages"),
    ({"stages": []}, "spec.stages", "at least one"),
    ({"stages": [{"percent": 100, "duration": "1h"}]}, "spec.stages[0].name", "required"),
    (
        {"stages": [{"name": "a", "percent": 5, "duration": "1h"}, {"name": "a", "percent": 100, "duration": "1h"}]},
        "spec.stages[1].name",
        "used twice",
    ),
    ({"stages": [{**_ALL_OF_IT, "name": "force:all"}]}, "spec.stages[0].name", "means something else"),
    ({"stages": [{**_ALL_OF_IT, "name": "true"}]}, "spec.stages[0].name", "means something else"),
    ({"stages": [{**_ALL_OF_IT, "name": " all"}]}, "spec.stages[0].name", "a blank"),
    ({"stages": [{**_ALL_OF_IT, "name": "a" * 101}]}, "spec.stages[0].name", "longer than 100"),
    ({"attempt": 0}, "spec.attempt", "1 or more"),
    ({"deadman": "2s"}, "spec.deadman", "could not be renewed"),
    ({"analysis": {"ages": ["10m", "1m"]}}, "spec.analysis.ages[1]", "does not ascend"),
    ({"analysis": {"ages": []}}, "spec.analysis.ages", "at least one"),
    ({"analysis": {"falseRollback": 0}}, "spec.analysis.falseRollback", "between 0 and 1"),
    ({"analysis": {"falsePass": 1}}, "spec.analysis.falsePass", "between 0 and 1"),
    ({"analysis": {"restart": "0s"}}, "spec.analysis.restart", "longer than nothing"),
    ({"analysis": {"restart": "1ms"}}, "spec.analysis.restart", "at most 1000 are kept: at least 41m"),
    ({"analysis": {"restart": "40m"}}, "spec.analysis.restart", "1008 restarts"),
    ({"analysis": {"tolerate": -1}}, "spec.analysis.tolerate", "above 0"),
    ({"analysis": {"tolerate": 2.0}}, "spec.analysis.passMargin.relative", "above spec.analysis.tolerate"),
    ({"analysis": {"passMargin": {"absolute": 1}}}, "spec.analysis.passMargin.absolute", ""),
    ({"analysis": {"minimumExecutions": -1}}, "spec.analysis.minimumExecutions", "0 or more"),
    ({"analysis": {"underpowered": "Ignore"}}, "spec.analysis.underpowered", "'Approve'"),
    ({"analysis": {"watch": True}}, "spec.analysis.watch", "no such field"),
    ({"criteria": []}, "spec.criteria", "at least one required comparison"),
    (
        {"criteria": [{"name": "f", "type": "comparison", "preset": "failures", "required": False}]},
        "spec.criteria",
        "at least one required comparison",
    ),
    (_criterion(type="comparison"), "spec.criteria[1].preset", "needs a preset"),
    (_criterion(type="comparison", preset="failures"), "spec.criteria[1].preset", "more than once"),
    (_criterion(type="comparison", preset="slow-checkpoints"), "spec.criteria[1].preset", "make it a guardrail"),
    (_criterion(type="comparison", preset="first-attempt-failures", max=1), "spec.criteria[1].max", "guardrails"),
    (_criterion(type="guardrail", query="up"), "spec.criteria[1].max", "largest value"),
    (_criterion(type="guardrail", query="up", max=1, required=False), "spec.criteria[1].required", "comparisons"),
    (_criterion(type="guardrail", query=" ", max=1), "spec.criteria[1].query", "empty"),
    (_criterion(type="guardrail", max=1), "spec.criteria[1].query", "either a query or the preset"),
    (_criterion(type="guardrail", max=1, query="up", preset="slow-checkpoints"), "spec.criteria[1].query", "either"),
    (_criterion(type="guardrail", max=1, preset="failures"), "spec.criteria[1].preset", "is a comparison"),
    ({"rollback": {"inFlight": "Kill"}}, "spec.rollback.inFlight", "'Drain'"),
    ({"deletionPolicy": "Orphan"}, "spec.deletionPolicy", "'Clear'"),
    (_held_back(100), "spec.stages[1].holdback", "below 100"),
    (_held_back(-1), "spec.stages[1].holdback", "0 or more"),
    (_held_back(0.125), "spec.stages[1].holdback", "more than two places"),
    (_held_back("NaN"), "spec.stages[1].holdback", ""),
    (_held_back(1, first=99), "spec.stages[1].holdback", "V2 gets 99, which does not ascend after 99"),
    (_held_back(60, first=50), "spec.stages[1].holdback", "V2 gets 40, which does not ascend after 50"),
    (
        {"stages": [{"name": "a", "percent": 5, "duration": "1h", "holdback": 1}, {"name": "b", "percent": 100}]},
        "spec.stages[1].duration",
        "required",
    ),
    (
        {"stages": [{"name": "a", "percent": 5, "duration": "1h", "holdback": 1}, _ALL_OF_IT]},
        "spec.stages[0].holdback",
        "belongs to the stage of 100 %",
    ),
    ({"stages": [{**_ALL_OF_IT, "approval": "maybe"}]}, "spec.stages[0].approval", ""),
    ({"analysis": {"interval": "0s"}}, "spec.analysis.interval", "longer than nothing"),
    (_own(bad=None), "spec.criteria[1].bad", "come together"),
    (_own(total=None), "spec.criteria[1].total", "come together"),
    (_own(bad='a{engine="$engine"} offset 5m'), "spec.criteria[1].bad", "'offset 5m', but it must be a plain"),
    (_own(bad='a{engine="$engine"}[5m]'), "spec.criteria[1].bad", "'[5m]', but it must be a plain"),
    (_own(bad='rate(a{engine="$engine"}[5m])'), "spec.criteria[1].bad", "no function, offset or range"),
    (_own(bad='sum by (x) (a{engine="$engine"})'), "spec.criteria[1].bad", "no function"),
    (_own(bad='a{engine="$engine"} + b{engine="$engine"}'), "spec.criteria[1].bad", "no function"),
    (_own(bad='{__name__="a",engine="$engine"}'), "spec.criteria[1].bad", "begins with no metric's name"),
    (_own(bad='a{__name__="b",engine="$engine"}'), "spec.criteria[1].bad", "names the metric twice"),
    (_own(bad='a{engine="$engine"'), "spec.criteria[1].bad", "before its brace is closed"),
    (_own(bad='a{engine="$engine}'), "spec.criteria[1].bad", "must be a plain"),
    (_own(bad="a_$engine"), "spec.criteria[1].bad", "must be a plain"),
    (_own(bad='a{engine="v2"}'), "spec.criteria[1].bad", "selects the same for V1 and V2"),
    (_own(bad='a{engine!="$engine"}'), "spec.criteria[1].bad", "selects the same for V1 and V2"),
    (_own(total=_OWN["bad"]), "spec.criteria[1].bad", "the same as total"),
    (_own(preset="first-attempt-failures"), "spec.criteria[1].preset", "either"),
    (_criterion(type="guardrail", query="up", max=1, bad="a"), "spec.criteria[1].bad", "belongs to comparisons"),
    (_windows(timeZone="Mars/Olympus"), "spec.windows.timeZone", "IANA"),
    (_windows(timeZone="America"), "spec.windows.timeZone", "IANA"),
    (_windows(timeZone="../etc/passwd"), "spec.windows.timeZone", "IANA"),
    (_windows(timeZone="localtime"), "spec.windows.timeZone", "IANA"),
    (_windows(promote=["09:00-17:00"]), "spec.windows.promote[0]", "days and hours"),
    (_windows(promote=["Mon 09:00-17:00", "Mon 9-17"]), "spec.windows.promote[1]", "days and hours"),
    (_windows(promote=["Mon-Xyz 09:00-17:00"]), "spec.windows.promote[0]", "'Xyz' is no day"),
    (_windows(promote=["Mon 09:00-25:00"]), "spec.windows.promote[0]", "25:00 is no time"),
    (_windows(promote=["Mon 09:00-24:01"]), "spec.windows.promote[0]", "24:01 is no time"),
    (_windows(promote=["Mon 09:00-09:00"]), "spec.windows.promote[0]", "empty"),
    (_windows(promote=["Mon 24:00-09:00"]), "spec.windows.promote[0]", "empty"),
    (_windows(freeze=["Christmas"]), "spec.windows.freeze[0]", "no range of dates"),
    (_windows(freeze=["2026-02-30/2026-03-01"]), "spec.windows.freeze[0]", "no range of dates"),
    (_windows(freeze=["2027-01-04/2026-12-20"]), "spec.windows.freeze[0]", "ends before it begins"),
    (_windows(freeze=["2026-12-20/9999-12-31"]), "spec.windows.freeze[0]", "never ends"),
    (_webhook(key=""), "spec.notify.webhook.key", "no Secret's key"),
    (_webhook(secret="Not A Name"), "spec.notify.webhook.secret", "no Secret's name"),
    ({"notify": {"webhook": {"secret": "a"}}}, "spec.notify.webhook.key", "required"),
    ({"notify": {"webhook": {"url": "https://…"}}}, "spec.notify.webhook.url", "no such field"),
]

RIGHT: list[dict[str, Any]] = [
    _held_back(1),
    _held_back("0.5", first=99),
    {"stages": [{**_ALL_OF_IT, "approval": True}]},
    _own(),
    _own(bad="shop:refunds_total { job =~ 'shop-$engine' , code!~`5..`, }"),
    _windows(timeZone="America/Sao_Paulo", promote=["Mon-Thu 09:00-17:00"], freeze=["2026-12-20/2027-01-04"]),
    _windows(promote=["Mon,Wed,Fri-Sun 00:00-24:00", "fri 22:00-02:00"], freeze=["2026-12-25", date(2026, 12, 31)]),
    _webhook(),
]


@pytest.mark.parametrize(
    ("document", "path", "text"), WRONG, ids=[f"{path}-{i}" for i, (_, path, _) in enumerate(WRONG)]
)
def test_what_is_wrong_is_named_by_its_path(document: dict[str, Any], path: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_rollout({"analysis": DOCUMENT["analysis"], **document})
    assert [problem for problem in caught.value.problems if problem.path == path and text in problem.message]


@pytest.mark.parametrize("document", RIGHT, ids=str)
def test_what_is_right_is_taken(document: dict[str, Any]) -> None:
    parsed = parse_rollout(document)
    assert parse_rollout(parsed.model_dump(mode="json", by_alias=True, exclude_unset=True)) == parsed


def test_an_empty_spec_judges_by_three_comparisons_and_two_guardrails() -> None:
    found = parse_rollout({}).criteria
    assert [(item.name, item.type.value) for item in found] == [
        ("failures", "comparison"),
        ("first-attempts", "comparison"),
        ("duration", "comparison"),
        ("slow-checkpoint", "guardrail"),
        ("stalled", "guardrail"),
    ]


def test_a_holdback_is_what_v2_does_not_get() -> None:
    assert [stage.share for stage in parse_rollout(_held_back(1)).stages] == [5, 99]


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_rollout({**_stages(50, 25), "attempt": 0, "criteria": [], "windows": {"promote": ["never"]}})
    assert {"spec.windows.promote[0]", "spec.attempt", "spec.stages[1].percent", "spec.criteria"} <= {
        problem.path for problem in caught.value.problems
    }


def test_a_status_reads_back_as_it_was_written() -> None:
    status = RolloutStatus(
        phase=Phase.HELD,
        started_at=START + timedelta(microseconds=5),
        flag_intent=FlagIntent(enabled=True, percent="5", seen_version="7"),
        decisions=(Decision(at=START, action="Hold", reason="Blind", message="m"),),
    )
    assert read_status(write_status(status)) == status


def test_a_field_that_is_gone_is_an_explicit_null_in_the_patch() -> None:
    patch = write_status(RolloutStatus(flag_intent=FlagIntent(enabled=True)))
    assert patch["failed"] is None
    assert patch["flagIntent"]["percent"] is None


def test_lists_in_the_patch_hold_no_nulls() -> None:
    patch = write_status(RolloutStatus(decisions=(Decision(at=START, action="a", reason="r", message="m"),)))
    assert None not in patch["decisions"][0].values()


def test_a_status_of_another_version_is_read_as_far_as_it_is_known() -> None:
    assert read_status({"phase": "Held", "fromTheFuture": 1, "reason": None}).phase is Phase.HELD
