"""The demo's claims: kept by a good run, and each one broken by what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.demo.checks import judge
from orchestrator_operator.demo.facts import Books, Facts, Share, Sighting, made_after
from orchestrator_operator.demo.ledger import Summary
from orchestrator_operator.demo.traffic import Sent

if TYPE_CHECKING:
    from collections.abc import Callable

ON, PERCENT, EXPIRES = "USE_ORCHESTRATOR_V2", "USE_ORCHESTRATOR_V2_PERCENT", "USE_ORCHESTRATOR_V2_EXPIRES"
PROMOTED = {"action": "Promote", "message": "no Pass: 40 of 636 failures; underpowered: Promote"}
FAILED = {"criterion": "failures", "counts": {"k2": 9}, "evidence": 812.0, "sentence": "9 of 10 failed"}


def flag(percent: str) -> dict[str, str]:
    return {ON: "true", PERCENT: percent, EXPIRES: "2030-01-01T00:00:00Z"}


def good(at: float, phase: str, percent: str) -> Sighting:
    status = {"phase": phase, "percent": percent, "decisions": [PROMOTED] * 4}
    return Sighting(at, "v2", status, {ON: "true"} if phase == "Completed" else flag(percent))


def bad(at: float, phase: str, keys: dict[str, str]) -> Sighting:
    status: dict[str, Any] = {"phase": phase} | ({} if phase == "Progressing" else {"failed": FAILED})
    return Sighting(at, "v2-failing", status, keys)


GOOD = Facts(
    workflows={"order-fulfilment": True, "fan-out": True},
    sightings=(
        Sighting(0, "", {}, {}),
        *(good(10 + 20 * n, "Progressing", percent) for n, percent in enumerate(("5", "5.00", "25", "50", "100"))),
        good(110, "Completed", "100"),
        Sighting(116, "", {}, {}),
        bad(125, "Progressing", flag("5")),
        bad(140, "RollingBack", {}),
        bad(150, "RolledBack", {}),
    ),
    sent=Sent(wanted=20, created=3000, errors=0, last_error="", rate_now=0, rate=19.8),
    resources=3000,
    books=Books(
        executions=3000,
        unfinished_v2=0,
        refused_before={"v1": Share(40, 1500), "v2": Share(30, 1000)},
        refused_by_faults=Share(9, 10),
        failed_otherwise={"v1": 0, "v2": 0},
        steps=5000,
        steps_not_once=0,
        effects_missing=0,
        routed_lines={"v1": 1900, "v2": 1100},
    ),
    after_rollback={"v1": 300},
    ledger=Summary(9000, 3, 90, 8900, 0, {"v1": 4, "v2": 0}, {"v1": 70, "v2": 0}),
    forbidden={"get other Secrets": False},
    faults_at=121,
    good="v2",
    bad="v2-failing",
    deleted_at=115,
)


def broken(facts: Facts) -> list[str]:
    return [claim.sentence for claim in judge(facts) if not claim.kept]


def books(**changes: Any) -> Facts:
    return replace(GOOD, books=replace(GOOD.books, **changes))


def without(match: Callable[[Sighting], bool]) -> Facts:
    return replace(GOOD, sightings=tuple(sighting for sighting in GOOD.sightings if not match(sighting)))


def test_a_good_run_keeps_every_claim() -> None:
    assert broken(GOOD) == []


@pytest.mark.parametrize(
    ("facts", "claim"),
    [
        (replace(GOOD, workflows={"fan-out": False}), "both sample Workflows were accepted"),
        (replace(GOOD, workflows={}), "both sample Workflows were accepted"),
        (replace(GOOD, sent=replace(GOOD.sent, rate=12.0)), "a steady stream of Executions as custom resources"),
        (replace(GOOD, sent=replace(GOOD.sent, errors=1)), "a steady stream of Executions as custom resources"),
        (
            books(refused_before={"v1": Share(40, 1500), "v2": Share(0, 0)}),
            "a few per cent failed, on both engines alike",
        ),
        (
            books(refused_before={"v1": Share(15, 1500), "v2": Share(70, 1000)}),
            "a few per cent failed, on both engines alike",
        ),
        (without(lambda s: s.flag_percent == "25"), "rollout 1 took V2 through every stage to Completed"),
        (replace(GOOD, resources=2999), "no Execution was lost, none was run twice"),
        (replace(GOOD, deleted_at=0.0), "deleting rollout 1 cleared the flag"),
        (books(refused_by_faults=Share(0, 10)), "V2 really failed"),
        (replace(GOOD, after_rollback={"v1": 300, "v2": 1}), "after it every new execution started on V1"),
        (replace(GOOD, after_rollback={"v1": 300, "none": 1}), "after it every new execution started on V1"),
        (replace(GOOD, after_rollback={}), "after it every new execution started on V1"),
        (books(unfinished_v2=1), "those in flight on V2 drained, then RolledBack"),
        (without(lambda s: s.phase == "RolledBack"), "those in flight on V2 drained, then RolledBack"),
        (books(effects_missing=1), "the shop's ledger has one effect for each key"),
        (
            replace(GOOD, ledger=replace(GOOD.ledger, doubled={"v2": 1})),
            "the shop's ledger has one effect for each key",
        ),
        (
            replace(GOOD, ledger=replace(GOOD.ledger, keys_with_many_effects=1)),
            "the shop's ledger has one effect for each key",
        ),
        (books(steps_not_once=1), "every completed step has exactly one event"),
        (books(steps=0), "every completed step has exactly one event"),
        (
            replace(GOOD, ledger=replace(GOOD.ledger, mixed_up={"v2": 1})),
            "nothing leaked from one execution of V2 to another",
        ),
        (books(routed_lines={"v1": 1900, "v2": 1099}), "each routing decision logged its line"),
        (replace(GOOD, forbidden={"get other Secrets": True}), "the operator ran with its own narrow role"),
        (replace(GOOD, forbidden={}), "the operator ran with its own narrow role"),
    ],
)
def test_each_claim_is_broken_by_what_it_is_about(facts: Facts, claim: str) -> None:
    assert broken(facts) == [claim]


def test_a_rollout_that_never_completes_keeps_no_claim_about_completion() -> None:
    assert broken(without(lambda s: s.phase == "Completed")) == [
        "rollout 1 took V2 through every stage to Completed",
        "Completed left the flag true, without percent and expiry",
    ]


def test_a_healthy_v2_that_is_rolled_back_says_by_what() -> None:
    back = Sighting(60, "v2", {"phase": "RolledBack", "failed": FAILED}, {})
    kept = tuple(s for s in GOOD.sightings if s.rollout != "v2" or s.phase == "Progressing")
    told = next(c for c in judge(replace(GOOD, sightings=(*kept, back))) if "every stage" in c.sentence)
    assert (told.kept, "rolled back: 9 of 10 failed" in told.evidence) == (False, True)


def test_a_flag_that_comes_back_after_the_rollback_breaks_the_claim() -> None:
    facts = replace(GOOD, sightings=(*GOOD.sightings, bad(160, "RolledBack", flag("5"))))
    assert broken(facts) == ["it rolled back by itself: all flag keys are gone"]


def test_a_rollout_that_is_never_rolled_back_keeps_no_claim_about_it() -> None:
    assert broken(without(lambda s: s.phase in ("RollingBack", "RolledBack"))) == [
        "the failing V2 was convicted, with counts and evidence",
        "it rolled back by itself: all flag keys are gone",
        "those in flight on V2 drained, then RolledBack",
    ]


def test_a_promotion_without_a_reason_breaks_the_claim() -> None:
    silent = replace(
        GOOD,
        sightings=tuple(
            replace(s, status={**s.status, "decisions": [{"action": "Promote", "message": ""}] * 4})
            if s.rollout == "v2"
            else s
            for s in GOOD.sightings
        ),
    )
    assert broken(silent) == ["every promotion says why (underpowered: Promote)"]


def test_resources_made_in_the_moments_own_second_count_neither_way() -> None:
    moment = datetime(2030, 1, 1, 12, 0, 5, 400_000, tzinfo=UTC)
    resources = [
        {"metadata": {"uid": uid, "creationTimestamp": f"2030-01-01T12:00:0{second}Z"}}
        for uid, second in [("before", 4), ("same", 5), ("later", 6), ("lost", 7)]
    ]
    engines = {"before": "v2", "same": "v2", "later": "v1"}
    assert made_after(moment, resources, engines) == {"v1": 1, "none": 1}
    assert made_after(None, resources, engines) == {}


def test_a_broken_claim_says_where_to_look() -> None:
    assert all(claim.look for claim in judge(GOOD))
