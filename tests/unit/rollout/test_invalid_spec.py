"""A mistake in the spec of a rollout that runs: nothing goes on by it, and the judge stays."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from orchestrator_operator.rollout.log.recorder import read_all
from orchestrator_operator.rollout.log.verify import verify
from orchestrator_operator.rollout.model import Unreadable
from orchestrator_operator.rollout.planning.situation import ABORT, PROMOTE
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout_status import Phase

from orchestrator.errors import Problem
from orchestrator.flag import ENABLED, PERCENT
from orchestrator.testing import MemoryStore
from tests.support.cluster import NAMESPACE
from tests.support.rollout_cluster import FAILING, PASSING, ZERO, Cluster
from tests.support.rollouts import DOCUMENT, GOOD, HOUR, World, cohorts, spec
from tests.support.rollouts import FAILING as BAD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MINUTE = timedelta(minutes=1)
TYPO = {"windows": {"freeze": ["2026-12-24"], "timeZone": "America/Sao_Paolo"}}
MENDED = {"windows": {"freeze": ["2026-12-24"], "timeZone": "America/Sao_Paulo"}}
WRONG = {"problems": (Problem("spec.windows.timeZone", "no such zone"),)}
WEBHOOK = {"webhook": {"secret": "rollout-webhook", "key": "url"}}


def state(world: World) -> tuple[str, str]:
    return world.status.phase.value, world.status.reason


def mistaken(**changes: Any) -> World:
    """A rollout that runs, and a spec that has become wrong since."""
    world = World(spec(**changes)).running()
    world.extra |= WRONG
    return world


# -- the plan


def test_a_spec_that_becomes_wrong_holds_and_says_by_which_one_v2_is_judged() -> None:
    world = mistaken()
    world.step(MINUTE)
    assert state(world) == ("Held", "InvalidSpec")
    assert "by the last spec that could be read" in world.status.message
    valid = next(item for item in world.status.conditions if item.type == "Valid")
    assert "by the last spec that could be read" in valid.message
    assert "spec.windows.timeZone: no such zone" in valid.message


def test_nothing_is_promoted_by_the_spec_before() -> None:
    world = mistaken()
    world.cohorts = cohorts(GOOD)
    world.settle(5 * HOUR)
    world.says(PROMOTE, "force:one")
    assert (world.status.phase, world.status.stage, world.status.percent) == (Phase.HELD, "one", "5")
    assert "the spec must be corrected first" in world.status.heard[0].answer


def test_nothing_starts_by_the_spec_before() -> None:
    world = World()
    world.extra |= WRONG
    world.step(HOUR)
    assert state(world) == ("Pending", "InvalidSpec")


def test_nothing_is_armed_again_by_the_spec_before() -> None:
    world = World(spec(attempt=1)).running()
    world.says(ABORT)
    world.settle()
    world.spec = spec(attempt=2)
    world.extra |= WRONG
    world.step(100 * HOUR)
    assert world.status.phase is Phase.ROLLED_BACK


def test_a_conviction_rolls_back_by_it() -> None:
    world = mistaken()
    world.cohorts = cohorts(BAD)
    world.step(MINUTE)
    assert state(world) == ("RollingBack", "CriterionFailed")
    assert world.flag.values.clear


def test_a_guardrail_rolls_back_by_it() -> None:
    guard = {"name": "g", "type": "guardrail", "query": "q", "max": 1, "onBreach": "Rollback"}
    world = World(spec(criteria=[*DOCUMENT["criteria"], guard]))
    world.extra["guardrails"] = {"g": 0.0}
    world.running()
    world.extra |= WRONG | {"guardrails": {"g": 2.0}}
    world.step(MINUTE)
    assert state(world) == ("RollingBack", "GuardrailBroken")


def test_its_budget_of_blindness_goes_on() -> None:
    world = mistaken(blind={"budget": "10m", "then": "Rollback"})
    world.cohorts = cohorts(Unreadable("NoSeries", "gone"))
    world.step(MINUTE)
    world.step(11 * MINUTE)
    assert state(world) == ("RollingBack", "BlindBudgetSpent")


def test_the_flag_is_renewed_meanwhile_or_a_typo_would_end_v2() -> None:
    world = mistaken()
    before = world.flag.values.expires
    world.step(40 * MINUTE)
    assert world.flag.values.expires != before
    assert world.flag.values.percent == "5"


def test_a_completed_rollout_stays_completed_for_the_reason_it_had() -> None:
    world = World().running()
    world.status = world.status.model_copy(update={"phase": Phase.COMPLETED, "reason": "StagePassed"})
    world.extra |= WRONG
    world.step(MINUTE)
    assert state(world) == ("Completed", "StagePassed")


def test_deletion_does_not_keep_the_flag_because_an_earlier_spec_said_so() -> None:
    world = mistaken(deletionPolicy="Keep")
    world.extra["deleting"] = True
    world.step(MINUTE)
    assert world.flag.values.clear


# -- the controller


@pytest_asyncio.fixture
async def mistaken_in_a_stage() -> AsyncIterator[Cluster]:
    cluster = Cluster(MemoryStore())
    await cluster.apply(notify=WEBHOOK)
    await cluster.look(times=3)
    await cluster.kubernetes.patch(ROLLOUTS, NAMESPACE, "v2", {"spec": TYPO})
    await cluster.look(5)
    assert cluster.state() == ("Held", "InvalidSpec")
    yield cluster
    await cluster.controller.aclose()


@pytest.mark.parametrize("restarted", [False, True], ids=["the same operator", "another operator"])
async def test_a_v2_that_fails_is_rolled_back_while_the_spec_is_wrong(
    mistaken_in_a_stage: Cluster, restarted: bool
) -> None:
    if restarted:
        mistaken_in_a_stage.restarted()
    mistaken_in_a_stage.prometheus.counters = FAILING
    await mistaken_in_a_stage.look(60, times=2)
    assert mistaken_in_a_stage.status()["reason"] == "CriterionFailed"
    assert mistaken_in_a_stage.flag == {}


@pytest.mark.parametrize("restarted", [False, True], ids=["the same operator", "another operator"])
async def test_executions_are_counted_for_the_attempt_while_the_spec_is_wrong(
    mistaken_in_a_stage: Cluster, restarted: bool
) -> None:
    if restarted:
        await mistaken_in_a_stage.restarted().start()
    facts = await mistaken_in_a_stage.facts()
    assert (facts.attempt, facts.ages) == (mistaken_in_a_stage.status()["attemptId"], (60.0, 600.0))


@pytest.mark.parametrize("restarted", [False, True], ids=["the same operator", "another operator"])
async def test_the_webhook_of_the_spec_before_is_told(mistaken_in_a_stage: Cluster, restarted: bool) -> None:
    if restarted:
        mistaken_in_a_stage.restarted()
    sent: list[str] = []
    mistaken_in_a_stage.controller._notifier.post = (  # type: ignore[method-assign]  # what is posted is the point
        lambda where, letters: sent.extend(f"{where.secret}: {letter.about}" for letter in letters)
    )
    await mistaken_in_a_stage.annotate(ABORT, "duplicate mails")
    await mistaken_in_a_stage.look(5)
    assert sent == ["rollout-webhook: shop/v2 RollBack Aborted"]


async def test_it_goes_on_when_the_spec_is_corrected(mistaken_in_a_stage: Cluster) -> None:
    mistaken_in_a_stage.prometheus.counters = PASSING
    await mistaken_in_a_stage.look(4000)
    assert mistaken_in_a_stage.flag[PERCENT] == "5"
    await mistaken_in_a_stage.kubernetes.patch(ROLLOUTS, NAMESPACE, "v2", {"spec": MENDED})
    await mistaken_in_a_stage.look(5, times=2)
    assert (mistaken_in_a_stage.flag[PERCENT], mistaken_in_a_stage.status()["stage"]) == ("25", "two")


async def test_every_decision_made_meanwhile_is_derived_again(mistaken_in_a_stage: Cluster) -> None:
    mistaken_in_a_stage.prometheus.counters = FAILING
    await mistaken_in_a_stage.look(60, times=2)
    rows = await read_all(mistaken_in_a_stage.store, mistaken_in_a_stage.body()["metadata"]["uid"])
    found = verify(rows)
    assert (found.difference, found.otherwise, found.derived) == ("", (), len(rows))
    assert not any("readableSpec" in row.content for row in rows)  # the rows have it once, as `spec`


async def test_a_status_without_a_readable_spec_holds_as_there_is_nothing_to_judge_by() -> None:
    """Both were lost: the spec, and what the status had kept of it."""
    cluster = Cluster(MemoryStore())
    await cluster.apply()
    await cluster.look(times=3)
    await cluster.kubernetes.patch(ROLLOUTS, NAMESPACE, "v2", {"spec": TYPO})
    cluster.body()["status"]["readableSpec"] = "{"
    cluster.restarted()
    cluster.prometheus.counters = ZERO
    await cluster.look(5)
    assert cluster.state() == ("Held", "InvalidSpec")
    assert cluster.flag[ENABLED] == "true"
    await cluster.controller.aclose()
