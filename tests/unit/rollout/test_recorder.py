"""The log of decisions as a controller writes it: through outages, restarts, and beside another operator."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from orchestrator_operator.adapters.kubernetes import Unavailable
from orchestrator_operator.rollout.acting.apply import HEAD_HASH, HEAD_NUMBER
from orchestrator_operator.rollout.log import chain
from orchestrator_operator.rollout.log.recorder import Recorder, read_all
from orchestrator_operator.rollout.log.verify import verify
from orchestrator_operator.rollout.planning.situation import ABORT
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout_status import RolloutStatus

from orchestrator.errors import StoreUnavailable
from orchestrator.faults import Boundary
from orchestrator.flag import ENABLED, PERCENT
from orchestrator.testing import MemoryStore, faults
from tests.support.cluster import NAMESPACE
from tests.support.prometheus import counters
from tests.support.rollout_cluster import FAILING, GOOD, PASSING, Cluster, a_whole_story
from tests.support.rollouts import DOCUMENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orchestrator.store import DecisionRow


class Store(MemoryStore):
    """Its log can be away."""

    away = False

    async def append_decision(self, row: DecisionRow) -> Any:
        if self.away:
            raise StoreUnavailable("the database did not answer")
        return await super().append_decision(row)

    async def decisions(self, rollout: str, after: int = 0, limit: int = 100) -> list[DecisionRow]:
        if self.away:
            raise StoreUnavailable("the database did not answer")
        return await super().decisions(rollout, after, limit)


def database(cluster: Cluster) -> Store:
    assert isinstance(cluster.store, Store)
    return cluster.store


async def log(cluster: Cluster) -> list[DecisionRow]:
    return await read_all(cluster.store, cluster.body()["metadata"]["uid"])


async def told(cluster: Cluster) -> list[tuple[str, str]]:
    """The decisions of the log, each with its reason."""
    return [(row.action, row.reason) for row in await log(cluster) if row.action != "Observed"]


def content(row: DecisionRow) -> Any:
    return json.loads(row.content)


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster(Store())
    yield made
    await made.controller.aclose()


@pytest_asyncio.fixture
async def running(cluster: Cluster) -> Cluster:
    await cluster.apply()
    await cluster.look(times=3)
    return cluster


# -- what stands in the log


async def test_a_decision_stands_in_the_log_with_all_that_was_looked_at(running: Cluster) -> None:
    running.prometheus.counters = FAILING
    await running.look(5)
    row = next(row for row in await log(running) if row.action == "RollBack")
    found = content(row)
    assert (row.name, row.attempt, row.actor) == ("shop/v2", running.status()["attemptId"], "controller")
    assert row.at == running.clock.now()
    assert found["inputs"]["cohorts"]
    assert found["judgement"]["criteria"][0]["verdict"] == "Fail"
    assert found["planned"]["status"]["phase"] == "RollingBack"
    assert [action["action"] for action in found["planned"]["actions"]] == ["ClearFlag"]
    assert any(query.startswith("max without") for query in found["queries"])


async def test_the_log_of_a_whole_story_is_derived_again_without_a_difference() -> None:
    cluster = await a_whole_story(Store())
    assert verify(await log(cluster)).difference == ""


async def test_the_status_bears_the_numbers_and_the_end_of_the_log(running: Cluster) -> None:
    rows = await log(running)
    assert running.status()["decisionHead"] == {"number": rows[-1].number, "hash": rows[-1].hash}
    assert [decision["number"] for decision in running.status()["decisions"]] == [row.number for row in rows]


async def test_the_event_of_a_decision_bears_its_number_and_the_end_of_the_log(running: Cluster) -> None:
    running.prometheus.counters = FAILING
    await running.look(5)
    row = next(row for row in await log(running) if row.action == "RollBack")
    event = next(e for e in running.kubernetes.events.values() if e["message"].startswith("RollBack"))
    assert event["metadata"]["annotations"] == {HEAD_NUMBER: str(row.number), HEAD_HASH: row.hash}
    assert event["message"].endswith(f"[decision {row.number}]")


async def test_two_decisions_of_one_moment_share_what_was_looked_at(running: Cluster) -> None:
    running.prometheus.counters = PASSING
    await running.write_flag(_PERCENT="7")
    await running.look(3600)
    rows = [row for row in await log(running) if row.at == running.clock.now()]
    assert [(row.action, row.reason) for row in rows] == [("Promote", "StagePassed"), ("SetPercent", "FlagEdited")]
    assert content(rows[1]) == {"same": rows[0].number}
    assert verify(await log(running)).difference == ""


async def test_the_flag_is_raised_after_its_decision_is_in_the_log(running: Cluster) -> None:
    seen: list[int] = []
    write = running.kubernetes.patch_secret

    async def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append(len([row for row in await log(running) if row.action == "Promote"]))
        return await write(*args, **kwargs)

    running.kubernetes.patch_secret = spy
    running.prometheus.counters = PASSING
    await running.look(3600)
    assert (seen[-1], running.flag[PERCENT]) == (1, "25")


# -- the evidence over time


async def test_evidence_that_moves_is_observed_at_most_two_hundred_times_a_stage(running: Cluster) -> None:
    for n in range(100):  # each time another count, in a sixth of the stage
        running.prometheus.counters = counters("5", (n, 10 * n), (0, n))
        await running.look(6)
    observed = [row for row in await log(running) if row.action == "Observed"]
    assert 30 <= len(observed) <= 200 / 6 + 1
    assert content(observed[-1])["judgement"]["criteria"][0]["counts"][1] > 1000


async def test_evidence_that_stands_still_is_not_observed_again(running: Cluster) -> None:
    running.prometheus.counters = GOOD
    for _ in range(20):
        await running.look(60)
    assert [row.action for row in await log(running)].count("Observed") == 1


async def test_each_restart_of_the_evidence_is_observed(cluster: Cluster) -> None:
    await cluster.apply(analysis={**DOCUMENT["analysis"], "restart": "10m"})
    await cluster.look(times=3)
    for _ in range(5):
        await cluster.look(600)
    restarts = [
        action["index"]
        for row in await log(cluster)
        for action in content(row)["planned"]["actions"]
        if action["action"] == "RememberTotals"
    ]
    assert restarts == [1, 2, 3, 4, 5]


# -- the store is away


async def test_a_rollback_waits_for_no_store_and_is_written_down_late(running: Cluster) -> None:
    database(running).away = True
    running.prometheus.counters = FAILING
    await running.look(5)
    assert running.flag == {}
    assert running.status()["phase"] in ("RollingBack", "RolledBack")
    assert "number" not in running.status()["decisions"][-1]
    assert "not in the log yet" in running.kubernetes.told("CriterionFailed")[0]
    database(running).away = False
    await running.look(5, times=2)
    row = next(row for row in await log(running) if row.action == "RollBack")
    assert content(row)["late"] is True
    assert content(row)["judgement"]["criteria"][0]["verdict"] == "Fail"
    assert verify(await log(running)).difference == ""


async def test_a_log_that_hangs_is_not_waited_for() -> None:
    class Hangs(MemoryStore):
        async def decisions(self, *_: Any, **__: Any) -> Any:
            await asyncio.Event().wait()

    status = RolloutStatus()
    assert await Recorder(Hangs(), patience=0.01).catch_up("r", status) is status


async def test_a_hold_waits_for_no_store(running: Cluster) -> None:
    database(running).away = True
    running.prometheus.down = True
    await running.look(5)
    assert running.state() == ("Held", "Blind")
    database(running).away = False
    await running.look(5)
    assert (await told(running))[-1] == ("Hold", "Blind")
    assert all("number" in decision for decision in running.status()["decisions"])


async def test_a_raise_waits_until_its_decision_is_in_the_log(running: Cluster) -> None:
    running.prometheus.counters = PASSING
    database(running).away = True
    await running.look(3600, times=3)
    assert (running.flag[PERCENT], running.status()["stage"]) == ("5", "one")
    database(running).away = False
    await running.look(5, times=2)
    assert (running.flag[PERCENT], running.status()["stage"]) == ("25", "two")
    assert [action for action, _ in await told(running)].count("Promote") == 1


async def test_a_raise_waits_for_older_decisions_too(cluster: Cluster) -> None:
    database(cluster).away = True
    await cluster.apply()
    await cluster.look(times=3)
    assert cluster.flag == {}
    database(cluster).away = False
    await cluster.look(5, times=2)
    assert cluster.flag[PERCENT] == "5"
    assert [action for action, _ in await told(cluster)] == ["Wait", "Start"]


async def test_the_expiry_is_renewed_while_the_log_is_away(running: Cluster) -> None:
    database(running).away = True
    await running.look(1900, times=2)
    assert running.flag[f"{ENABLED}_EXPIRES"] > "2026-01-01T01:00:00Z"


@pytest.mark.parametrize("counters_", [PASSING, FAILING])
async def test_an_append_whose_answer_was_lost_is_no_second_decision(running: Cluster, counters_: Any) -> None:
    running.prometheus.counters = counters_
    with faults.lose(Boundary.APPEND_DECISION):
        await running.look(3600)
    await running.look(5, times=2)
    actions = [action for action, _ in await told(running)]
    assert actions.count("Promote") + actions.count("RollBack") == 1
    assert all("number" in decision for decision in running.status()["decisions"])


# -- one of log and status is behind


async def test_a_decision_that_only_the_log_has_is_followed(running: Cluster) -> None:
    """The process ended between the two: the decision was made, and is not made again."""
    running.prometheus.counters = PASSING
    whole, running.kubernetes.patch_status = running.kubernetes.patch_status, _crash
    with pytest.raises(KeyboardInterrupt):
        await running.look(3600)
    running.kubernetes.patch_status = whole
    assert (running.status()["stage"], running.flag[PERCENT]) == ("one", "5")
    running.restarted()
    await running.look(60)
    assert (running.status()["stage"], running.flag[PERCENT]) == ("two", "25")
    assert [action for action, _ in await told(running)].count("Promote") == 1
    assert [decision["action"] for decision in running.status()["decisions"]][-1] == "Promote"


async def test_a_rollback_that_only_the_log_has_is_followed(running: Cluster) -> None:
    """The API server took no status, the flag was cleared, the process ended: nobody is blamed for clearing it."""
    whole, running.kubernetes.patch_status = running.kubernetes.patch_status, _refused
    running.prometheus.counters = FAILING
    await running.look(5)
    running.kubernetes.patch_status = whole
    assert (running.flag, running.status()["phase"]) == ({}, "Progressing")
    running.restarted()
    await running.look(5)
    assert running.state()[1] == "CriterionFailed"
    assert [action for action, _ in await told(running)].count("RollBack") == 1


async def aborted_without_the_store(cluster: Cluster) -> None:
    """A rollback that no row tells of, the operator that made it gone, and the store back."""
    database(cluster).away = True
    await cluster.annotate(ABORT, "true")
    await cluster.look(5)
    cluster.restarted()
    database(cluster).away = False


async def test_a_decision_that_only_the_status_has_is_written_down_without_inputs(running: Cluster) -> None:
    await aborted_without_the_store(running)
    await running.look(5, times=2)
    row = next(row for row in await log(running) if row.action == "RollBack")
    assert (row.reason, content(row)) == ("Aborted", {"inputs": None, "late": True})
    found = verify(await log(running))
    assert (found.difference, found.without_inputs[0]) == ("", row.number)


async def emptied(cluster: Cluster) -> None:
    """Somebody took the status away, and another operator begins."""
    await cluster.kubernetes.patch_status(ROLLOUTS, NAMESPACE, "v2", dict.fromkeys(cluster.status()))
    cluster.restarted()


async def test_a_stage_whose_status_somebody_emptied_goes_on_and_is_judged(running: Cluster) -> None:
    running.prometheus.counters = PASSING
    await running.look(3600, times=2)
    before = running.status()
    await emptied(running)
    await running.look(5)
    kept = ("phase", "stage", "percent", "attemptId", "startedAt", "stageStartedAt")
    assert {key: running.status()[key] for key in kept} == {key: before[key] for key in kept}
    running.prometheus.counters = [*PASSING, *counters("25", (20, 180), (6000, 4000))]
    await running.look(5, times=2)
    assert (running.status()["reason"], running.flag) == ("CriterionFailed", {})
    assert verify(await log(running)).difference == ""


@pytest.mark.parametrize("looks", [1, 3], ids=["while it drains", "after it"])
async def test_a_rollback_whose_status_somebody_emptied_stays_one(running: Cluster, looks: int) -> None:
    await running.annotate(ABORT, "duplicate mails")
    await running.look(5, times=looks)
    told_before = len(running.kubernetes.told("Aborted"))
    await emptied(running)
    await running.look(5, times=5)
    assert running.state() == ("RolledBack", "Aborted")
    assert running.flag == {}
    assert (running.status()["attempt"], len(running.status()["decisions"])) == (1, len(await told(running)))
    assert verify(await log(running)).difference == ""
    assert told_before <= len(running.kubernetes.told("Aborted")) <= 2  # the rollback, and its end: each once


async def test_a_rollback_that_was_written_down_without_inputs_stays_one_too(running: Cluster) -> None:
    await aborted_without_the_store(running)
    running.kubernetes.patch_status, whole = _refused, running.kubernetes.patch_status
    await running.look(5)  # the row is written, the status is not
    running.kubernetes.patch_status = whole
    rows = [row for row in await log(running) if row.action == "RollBack"]
    assert [content(row)["inputs"] for row in rows] == [None]
    await emptied(running)
    await running.look(5, times=3)
    assert running.state() == ("RolledBack", "Aborted")
    assert running.flag == {}


async def test_a_flag_that_was_cleared_meanwhile_is_not_set_again_out_of_the_log(running: Cluster) -> None:
    await running.clear_flag()
    await emptied(running)
    await running.look(5, times=3)
    assert running.status()["reason"] == "FlagClearedByHand"
    assert running.flag == {}


async def test_nobody_is_told_again_of_what_comes_back_out_of_the_log(cluster: Cluster) -> None:
    await cluster.apply(notify={"webhook": {"secret": "s", "key": "u"}})
    await cluster.look(times=3)
    await emptied(cluster)
    sent: list[str] = []
    cluster.controller._notifier.post = (  # type: ignore[method-assign]  # what is posted is the point
        lambda _, posted: sent.extend(letter.about for letter in posted)
    )
    await cluster.look(5)
    assert (cluster.state()[0], sent) == ("Progressing", [])


async def _refused(*_: Any, **__: Any) -> Any:
    raise Unavailable("etcd is away", status=503)


async def test_rows_that_an_old_backup_lacks_are_named_by_the_next_row(running: Cluster) -> None:
    rows = await log(running)
    fresh = Store()
    for row in rows[:-1]:
        await fresh.append_decision(row)
    running.store = fresh
    running.restarted()
    await running.look(5)
    lost = content((await log(running))[-1])["lost"]
    assert lost == {"number": rows[-1].number, "hash": rows[-1].hash}
    assert f"rows up to {rows[-1].number}" in verify(await log(running)).difference


async def test_a_log_that_somebody_spoiled_keeps_nobody_from_a_rollback(running: Cluster) -> None:
    """Neither does a defect in recording; but nothing is raised on such a log."""
    running.restarted()

    async def spoiled(rollout: str, after: int = 0, limit: int = 100) -> list[DecisionRow]:
        rows = await MemoryStore.decisions(database(running), rollout, after, limit)
        return [replace(row, content="{", action="Promote", reason="x", number=row.number + 50) for row in rows]

    running.store.decisions = spoiled  # type: ignore[method-assign]  # rows as a broken database gives them
    running.prometheus.counters = PASSING
    await running.look(3600, times=2)
    assert running.flag[PERCENT] == "5"
    running.prometheus.counters = counters("5", (19_000, 100_000), (30_000, 5600))
    await running.look(5)
    assert running.flag == {}


async def test_a_rollback_whose_inputs_cannot_be_recorded_happens_and_is_recorded(
    running: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "content", lambda *_: 1 / 0)
    running.prometheus.counters = FAILING
    await running.look(5)
    assert running.flag == {}
    row = next(row for row in await log(running) if row.action == "RollBack")
    assert content(row)["inputs"] is None


# -- two operators


async def test_of_two_operators_one_decides_and_the_other_follows(running: Cluster) -> None:
    first = running.controller
    second = running.restarted()
    await running.look(1)
    running.prometheus.counters = PASSING
    running.clock.advance(3600)
    for _ in range(4):
        for controller in (first, second):
            running.controller = controller
            await running.look(1)
    assert running.flag[PERCENT] == "25"
    assert [action for action, _ in await told(running)].count("Promote") == 1
    assert verify(await log(running)).difference == ""
    await first.aclose()


async def test_an_operator_that_was_overtaken_raises_nothing_by_its_old_plan(running: Cluster) -> None:
    """The other one has rolled back in between, and its flag and status are there."""
    first = running.controller
    running.restarted()
    running.prometheus.counters = FAILING
    await running.look(5, times=2)
    running.controller, running.prometheus.counters = first, PASSING
    await running.look(3600, times=3)
    assert running.flag == {}
    assert running.status()["phase"] == "RolledBack"
    assert "Promote" not in [action for action, _ in await told(running)]


async def test_an_operator_that_was_overtaken_holds_nothing_either(running: Cluster) -> None:
    """It does not write its old status over what the other one decided, and blames nobody for the flag."""
    first = running.controller
    running.restarted()
    running.prometheus.counters = FAILING
    await running.look(5, times=2)
    running.controller, running.prometheus.down = first, True
    await running.look(60, times=3)
    assert running.state() == ("RolledBack", "CriterionFailed")
    assert [action for action, _ in await told(running)].count("RollBack") == 1


async def _crash(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt
