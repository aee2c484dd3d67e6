"""`kill -9` of the worker in mid-execution and of the operator in mid-rollout, under a stream, on PostgreSQL."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.polling import eventually
from tests.support.rollout_documents import rollout
from tests.support.site import execution, orders
from tests.support.stream import Eyes, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator_operator.demo.facts import Sighting

    from tests.support.live import ControlPlane
    from tests.support.postgres import LocalPostgres
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

RATE = 8.0  # executions a second
STEPS = 4
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Story:
    """What was seen."""

    site: Site
    names: list[str] = field(default_factory=list)
    seen: list[Sighting] = field(default_factory=list)
    worker_killed_at: datetime = NEVER
    before: dict[str, Any] = field(default_factory=dict)  # the rollout's status when the operator was killed
    after: dict[str, Any] = field(default_factory=dict)  # the first one that the next operator wrote

    def stored(self, where: str) -> list[dict[str, Any]]:
        return self.site.query(f"SELECT * FROM workflow_executions WHERE {where}")


@pytest.fixture(scope="module")
def story(control_plane: ControlPlane, postgres: LocalPostgres) -> Iterator[Story]:
    with control_plane.site("kills", database=postgres.create_database()) as site:
        site.start()
        site.apply(orders(site.shop, steps=STEPS, pause="500ms"))
        site.until_condition("Workflow", "orders", "Valid", "True")
        story = Story(site)
        stream = Stream(site, lambda n: execution(f"order-{n}", "orders", {"order": f"order-{n}"}), RATE)
        with Eyes(site) as eyes, stream:
            site.apply(rollout("v2", (25, "8s"), (50, "12s"), (100, "10s")))
            kill_the_operator(story, site, eyes)
            kill_the_worker(story, site)  # whatever the stage is by then: only the machine knows how long starts take
            eyes.until(lambda s: s.phase == "Completed", "Completed", within=120)
            story.seen = eyes.of("v2")
        story.names = list(stream.names)
        over = "SELECT count(*) AS n FROM workflow_executions WHERE engine = 'v2' AND finished_at IS NULL"
        eventually(lambda: len(story.stored("true")) == len(story.names), "every execution in the store")
        eventually(lambda: site.query(over) == [{"n": 0}], "the end of V2's executions")
        yield story


def kill_the_worker(story: Story, site: Site) -> None:
    """While requests are under way: the shop takes them up only when nobody is left to hear its answers."""
    asking = "status = 'running' AND current_node_id LIKE 'step%'"
    half_way = f"engine = 'v2' AND done BETWEEN 1 AND 4 AND {asking}"
    eventually(lambda: len(story.stored(half_way)) >= 2, "V2 executions in the middle of their steps", every=0.02)
    site.freeze("shop")
    try:
        eventually(
            lambda: len(story.stored(half_way)) >= 2 and site.unheard() >= len(story.stored(asking)),
            "requests of V2 that the shop has not read",
            every=0.02,
        )
        site.kill("worker")
        story.worker_killed_at = datetime.now(UTC)
    finally:
        site.thaw("shop")
    eventually(lambda: site.unheard() == 0, "the shop at work again")
    site.start("worker")


def kill_the_operator(story: Story, site: Site, eyes: Eyes) -> None:
    eyes.until(lambda s: s.phase == "Progressing" and s.flag_percent == "50", "the second stage", within=90)
    site.kill("operator")
    story.before = site.status("EngineRollout", "v2")
    site.start("operator")
    story.after = site.until_status("EngineRollout", "v2", lambda s: s != story.before, "a new status")


def test_the_worker_was_killed_among_running_executions(story: Story) -> None:
    across = [
        row for row in story.stored("engine = 'v2'") if row["started_at"] < story.worker_killed_at < row["finished_at"]
    ]
    assert len(across) >= 2


def test_no_execution_is_lost_and_none_is_there_twice(story: Story) -> None:
    assert sorted(row["name"] for row in story.stored("true")) == sorted(story.names)


def test_all_executions_of_v2_complete(story: Story) -> None:
    assert Counter(row["status"] for row in story.stored("engine = 'v2'")).keys() == {"success"}


def test_every_completed_step_has_exactly_one_event(story: Story) -> None:
    counted = story.site.query(
        "SELECT execution_id, node_id, count(*) AS n FROM workflow_events WHERE type = 'StepCompleted' "
        "GROUP BY execution_id, node_id"
    )
    steps = [*(f"step{index}" for index in range(STEPS)), "pause"]
    wanted = {(row["id"], step): 1 for row in story.stored("engine = 'v2'") for step in steps}
    assert {(row["execution_id"], row["node_id"]): row["n"] for row in counted} == wanted


def test_events_are_contiguous_from_one(story: Story) -> None:
    gaps = story.site.query(
        "SELECT execution_id FROM workflow_events GROUP BY execution_id HAVING min(seq) <> 1 OR max(seq) <> count(*)"
    )
    assert gaps == []


def test_the_ledger_has_one_effect_for_each_idempotency_key(story: Story) -> None:
    keys = [row["key"] for row in story.site.ledger_query("SELECT key FROM effects WHERE engine = 'v2'")]
    wanted = [f"{row['id']}/step{index}" for row in story.stored("engine = 'v2'") for index in range(STEPS)]
    assert sorted(keys) == sorted(wanted)
    assert story.site.ledger().doubled["v2"] == 0  # nothing was done to an order under two keys either


def test_requests_whose_answer_was_lost_were_repeated_without_a_second_effect(story: Story) -> None:
    repeated = story.site.ledger_query(
        "SELECT key, count(*) AS n FROM requests WHERE engine = 'v2' GROUP BY key HAVING n > 1"
    )
    assert len(repeated) >= 2
    effects = {row["key"] for row in story.site.ledger_query("SELECT key FROM effects")}
    assert {row["key"] for row in repeated} <= effects


def test_the_rollout_goes_on_where_it_stood(story: Story) -> None:
    stood, goes_on = story.before, story.after
    for name in ("attemptId", "startedAt"):
        assert goes_on[name] == stood[name]
    assert goes_on["stageIndex"] >= stood["stageIndex"] >= 1
    if goes_on["stageIndex"] == stood["stageIndex"]:
        assert goes_on["stageStartedAt"] == stood["stageStartedAt"]


def test_neither_kill_moves_the_flag(story: Story) -> None:
    began = next(index for index, s in enumerate(story.seen) if s.flag)
    percents = [float(s.flag_percent or 100) for s in story.seen[began:] if s.flag is not None]
    assert all(s.flag for s in story.seen[began:])
    assert percents == sorted(percents)


def test_neither_kill_rolls_back(story: Story) -> None:
    assert {s.phase for s in story.seen} <= {"", "Pending", "Progressing", "Held", "Completed"}
    assert story.seen[-1].phase == "Completed"


def test_the_resources_tell_of_every_end(story: Story) -> None:
    names = [row["name"] for row in story.stored("engine = 'v2'")]
    assert {status["phase"] for status in story.site.until_over(names).values()} == {"Success"}
