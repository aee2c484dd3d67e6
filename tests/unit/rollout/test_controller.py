"""The controller in its shell: a fake API server, a real SQLite store, a Prometheus behind HTTP, a clock in hand."""

from __future__ import annotations

import asyncio
import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from orchestrator_operator.adapters.kubernetes import Conflict, Refused, Unavailable
from orchestrator_operator.rollout import steps
from orchestrator_operator.rollout.acting.marks import FINALIZER
from orchestrator_operator.rollout.planning.situation import ABORT, PAUSE
from orchestrator_operator.specs import ROLLOUTS

from orchestrator.cohorts import CALIBRATION
from orchestrator.errors import StoreUnavailable
from orchestrator.flag import ENABLED, PERCENT, UNREAD, FlagReason
from orchestrator.model import Assignment, Engine, Status
from orchestrator.router import Owner, route
from orchestrator.store import open_store
from orchestrator.store.records import Filter
from orchestrator.testing import MemoryStore
from tests.support.cluster import NAMESPACE
from tests.support.prometheus import FakePrometheus, counters
from tests.support.rollout_cluster import FAILING, GOOD, SECRET, ZERO, Cluster
from tests.support.rollouts import DOCUMENT
from tests.support.stores import submission, workflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from orchestrator.store import Store


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    store = await open_store(str(tmp_path / "store.db"))
    made = Cluster(store)
    yield made
    await made.controller.aclose()
    await store.close()


@pytest_asyncio.fixture
async def running(cluster: Cluster) -> Cluster:
    await cluster.apply()
    await cluster.look(times=3)
    assert cluster.state() == ("Progressing", "StageRunning")
    return cluster


async def test_a_rollout_starts_and_writes_the_flag(running: Cluster) -> None:
    assert running.flag == {ENABLED: "true", PERCENT: "5", f"{ENABLED}_EXPIRES": "2026-01-01T01:00:00Z"}
    assert running.status()["flagIntent"]["confirmed"] is True


async def test_nothing_starts_before_the_counters_of_its_attempt_are_there(cluster: Cluster) -> None:
    cluster.prometheus.counters = []
    await cluster.apply()
    await cluster.look(times=3)
    assert cluster.state() == ("Pending", "WaitingForMetrics")
    assert cluster.flag == {}
    attempt = cluster.status()["attemptId"]
    facts = cluster.controller.facts(cluster.clock.now())
    assert (facts.attempt, facts.ages) == (attempt, (60.0, 600.0))  # so the exporter exports zeros for it
    assert any(f'attempt="{attempt}"' in query for query in cluster.prometheus.queries)


async def test_v1_s_week_is_kept_before_anything_goes_to_v2(cluster: Cluster) -> None:
    seen: list[Any] = []
    write = cluster.kubernetes.patch_secret

    async def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append(await cluster.store.baselines(cluster.status()["attemptId"]))
        return await write(*args, **kwargs)

    cluster.kubernetes.patch_secret = spy
    await cluster.apply()
    await cluster.look(times=3)
    assert seen == [[]]


async def test_while_v1_s_week_cannot_be_kept_nothing_goes_to_v2(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(cluster.store, "take_baselines", away)
        await cluster.apply()
        await cluster.look(times=3)
        assert cluster.flag == {}
    await cluster.look(times=3)
    assert cluster.flag[PERCENT] == "5"


async def test_closed_bins_of_a_user_s_own_counters_are_kept(cluster: Cluster) -> None:
    own = {"name": "own", "type": "comparison", "bad": 'b{e="$engine"}', "total": 't{e="$engine"}'}
    await cluster.apply(criteria=[*DOCUMENT["criteria"], own])
    await cluster.look(times=3)
    start = cluster.clock.now().timestamp()
    for engine in ("v1", "v2"):
        samples = [(start + seconds, 1000.0 + seconds) for seconds in range(-300, 900, 15)]
        for name in ("b", "t"):
            cluster.prometheus.raw[f'{name}{{e="{engine}"}}'] = [({"e": engine, "instance": "pod"}, samples)]
    await cluster.look(600)
    kept = await cluster.store.bins(cluster.status()["attemptId"], "own")
    assert [one.number for one in kept] == list(range(len(kept)))
    assert sum(one.n1 for one in kept) == pytest.approx(kept[-1].until.timestamp() - start)
    await cluster.look(60)
    assert (await cluster.store.bins(cluster.status()["attemptId"], "own"))[: len(kept)] == kept


async def test_the_status_holds_the_intent_when_the_flag_is_written(cluster: Cluster) -> None:
    seen: list[Any] = []
    write = cluster.kubernetes.patch_secret

    async def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append((cluster.status()["flagIntent"]["percent"], kwargs["resource_version"]))
        return await write(*args, **kwargs)

    cluster.kubernetes.patch_secret = spy
    await cluster.apply()
    await cluster.look(times=3)
    assert seen == [("5", cluster.status()["flagIntent"]["seenVersion"])]


async def test_a_conviction_clears_the_flag_before_anybody_is_told(running: Cluster) -> None:
    flag_when_told: list[dict[str, str]] = []
    post = running.kubernetes.create_event

    async def spy(namespace: str, event: Any) -> None:
        flag_when_told.append(running.flag)
        await post(namespace, event)

    running.kubernetes.create_event = spy
    running.prometheus.counters = FAILING
    await running.look(5)
    assert running.flag == {}
    assert flag_when_told[0] == {}
    assert running.status()["failed"]["criterion"] == "failures"
    assert running.kubernetes.told("CriterionFailed")


async def test_a_conviction_clears_the_flag_even_when_the_status_cannot_be_written(running: Cluster) -> None:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise Unavailable("etcd is away", status=503)

    whole, running.kubernetes.patch_status = running.kubernetes.patch_status, refuse
    running.prometheus.counters = FAILING
    await running.look(5)
    assert running.flag == {}
    assert running.controller.facts(running.clock.now()).owner is Owner.ROLLED_BACK
    running.kubernetes.patch_status = whole
    await running.look(5)
    assert running.status()["reason"] == "CriterionFailed"
    assert running.status()["failed"]["counts"]


async def test_a_rollback_ends_when_nothing_is_in_flight_on_v2(running: Cluster) -> None:
    await running.store.put_workflow(workflow())
    await running.store.submit([submission("e1")], running.clock.now())
    running.prometheus.counters = FAILING
    await running.look(5, times=2)
    assert running.state() == ("RollingBack", "CriterionFailed")
    [claim] = await running.store.claim("w", Engine.V2, 1, timedelta(seconds=9), running.clock.now())
    assert claim.status is Status.RUNNING
    record = await running.store.get("e1")
    assert record is not None
    running.store = FinishedStore(running.store)
    running.restarted()
    await running.look(5)
    assert running.state() == ("RolledBack", "CriterionFailed")


class FinishedStore:
    """The same store, after V2's executions have ended."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def in_flight(self, _: Engine) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_executions_that_asked_for_v2_by_name_do_not_keep_a_rollback_open(running: Cluster) -> None:
    await running.store.put_workflow(workflow())
    await running.store.submit([submission("e1", assignment=Assignment.EXPLICIT)], running.clock.now())
    running.prometheus.counters = FAILING
    await running.look(5, times=2)
    assert running.state() == ("RolledBack", "CriterionFailed")


async def test_in_flight_executions_are_cancelled_where_the_spec_says_so(cluster: Cluster) -> None:
    await cluster.apply(rollback={"inFlight": "Cancel"})
    await cluster.look(times=3)
    await cluster.store.put_workflow(workflow())
    await cluster.store.submit(
        [submission("e1"), submission("e2", assignment=Assignment.EXPLICIT)], cluster.clock.now()
    )
    cluster.prometheus.counters = FAILING
    await cluster.look(5, times=2)
    records = {record.id: record.cancel_requested for record in await cluster.store.executions(Filter())}
    assert records == {"e1": True, "e2": False} or await gone(cluster.store, "e1")


async def gone(store: Store, execution_id: str) -> bool:
    record = await store.get(execution_id)
    return record is not None and record.status is Status.CANCELLED


# -- Prometheus


@pytest.mark.parametrize(
    ("break_", "word"),
    [
        (lambda p: setattr(p, "down", True), "connection refused"),
        (lambda p: setattr(p, "counters", []), "does it scrape the operator"),
        (lambda p: setattr(p, "age", 400.0), "400s old"),
        (lambda p: setattr(p, "age", "NaN"), "no known age"),
        (lambda p: setattr(p, "counters", counters("5", (0, 0), (float("nan"), 0))), "not a count"),
        (lambda p: setattr(p, "counters", counters("5", (0, 5), (0, 1))), "went down"),
    ],
)
async def test_whatever_is_wrong_with_prometheus_holds_and_never_rolls_back(
    running: Cluster, break_: Callable[[FakePrometheus], None], word: str
) -> None:
    running.prometheus.counters = GOOD
    await running.look(5)
    break_(running.prometheus)
    await running.look(5)
    assert running.state() == ("Held", "CounterReset" if word == "went down" else "Blind")
    assert word in running.status()["message"]
    assert running.flag[PERCENT] == "5"


async def test_sight_that_comes_back_goes_on(running: Cluster) -> None:
    running.prometheus.down = True
    await running.look(5)
    running.prometheus.down = False
    await running.look(60)
    assert running.state() == ("Progressing", "StageRunning")
    assert running.status()["blindSpent"] == 60


async def test_counters_that_were_reset_hold_after_a_restart_of_the_operator_too(running: Cluster) -> None:
    running.prometheus.counters = GOOD
    await running.look(5)
    running.prometheus.counters = counters("5", (1, 9), (0, 1))
    running.restarted()
    await running.look(5, times=2)
    assert running.state() == ("Held", "CounterReset")
    assert "went down" in running.status()["message"]


def starts(v1: int, v2: int) -> Any:
    return counters("5", (0, v1), (0, v2), criteria=("starts",), ages=("1m",))


def same_v1_twice(good: int) -> Any:
    return counters("50", (0, good), (0, 0), criteria=CALIBRATION, ages=("10m",))


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (starts(950, 50), starts(940, 50), "the starts went down from (0, 950, 0, 50) to (0, 940, 0, 50)"),
        (same_v1_twice(90), same_v1_twice(80), "V1 against V1 went down"),
    ],
    ids=["starts", "calibration"],
)
async def test_what_only_alarms_look_at_holds_when_it_was_reset(
    cluster: Cluster, before: Any, after: Any, what: str
) -> None:
    """The comparisons can be read as before: nobody else would notice."""
    cluster.prometheus.counters = ZERO + before
    await cluster.apply()
    await cluster.look(times=3)
    await cluster.look(5)
    cluster.prometheus.counters = ZERO + after
    cluster.restarted()
    await cluster.look(5, times=2)
    assert cluster.state() == ("Held", "CounterReset")
    assert what in cluster.status()["message"]


async def test_other_ages_are_no_reset(cluster: Cluster) -> None:
    """At another age other executions have been read: fewer of them are no sign of anything."""
    cluster.prometheus.counters = ZERO + starts(950, 50)
    await cluster.apply()
    await cluster.look(times=3)
    await cluster.look(5)
    analysis = {**DOCUMENT["analysis"], "ages": ["2m", "10m"]}
    await cluster.kubernetes.patch(ROLLOUTS, NAMESPACE, "v2", {"spec": {"analysis": analysis}})
    cluster.prometheus.counters = [
        *counters("5", (0, 0), (0, 0), ages=("2m", "10m")),
        *counters("5", (0, 19), (0, 1), criteria=("starts",), ages=("2m",)),
    ]
    await cluster.look(5, times=2)
    assert cluster.state() == ("Progressing", "StageRunning")


async def test_the_totals_of_a_restart_are_kept_in_the_store(cluster: Cluster) -> None:
    await cluster.apply(analysis={**DOCUMENT["analysis"], "restart": "20m"})
    await cluster.look(times=3)
    cluster.prometheus.counters = GOOD
    await cluster.look(20 * 60)
    [kept] = await cluster.store.totals(cluster.status()["attemptId"])
    assert (kept.index, kept.totals["failures@1m"]) == (1, {"5": [60, 5940, 2, 398]})
    await cluster.look(60)
    assert len(await cluster.store.totals(cluster.status()["attemptId"])) == 1


async def test_a_guardrail_is_asked_and_holds(cluster: Cluster) -> None:
    guard = {"name": "stalled", "type": "guardrail", "query": 'stalled{engine="$engine"}', "max": 0}
    cluster.prometheus.answers['stalled{engine="v2"}'] = [({}, 0)]
    await cluster.apply(criteria=[*DOCUMENT["criteria"], guard])
    await cluster.look(times=3)
    cluster.prometheus.answers['stalled{engine="v2"}'] = [({}, 2)]
    await cluster.look(5)
    assert cluster.state() == ("Held", "GuardrailBroken")


async def test_a_guardrail_of_the_preset_asks_for_a_share(cluster: Cluster) -> None:
    guard = {"name": "slow", "type": "guardrail", "preset": "slow-checkpoints", "max": 0.05}
    await cluster.apply(criteria=[*DOCUMENT["criteria"], guard])
    await cluster.look(times=2)
    [asked, *_] = {query for query in cluster.prometheus.queries if "slow-checkpoints" in query}
    assert 'outcome="bad"' in asked
    assert "clamp_min" in asked


# -- the flag in other hands


async def test_a_flag_cleared_by_hand_rolls_back_and_is_never_set_again(running: Cluster) -> None:
    await running.clear_flag()
    await running.look(1)
    assert running.state() == ("RollingBack", "FlagClearedByHand")
    await running.look(100, times=5)
    running.restarted()
    await running.look(100_000, times=5)
    assert running.state() == ("RolledBack", "FlagClearedByHand")
    assert running.flag == {}


async def test_a_crash_before_the_flag_was_written_is_repaired(cluster: Cluster) -> None:
    whole = cluster.kubernetes.patch_secret

    async def crash(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    cluster.kubernetes.patch_secret = crash
    await cluster.apply()
    with pytest.raises(KeyboardInterrupt):
        await cluster.look(times=3)
    assert cluster.status()["flagIntent"]["percent"] == "5"
    cluster.kubernetes.patch_secret = whole
    cluster.restarted()
    await cluster.look(3, times=2)
    assert cluster.state() == ("Progressing", "StageRunning")
    assert cluster.flag[PERCENT] == "5"


async def test_a_crash_after_the_flag_was_cleared_by_us_goes_on_draining(running: Cluster) -> None:
    whole = running.kubernetes.create_event

    async def crash(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    running.kubernetes.create_event = crash
    running.prometheus.counters = FAILING
    with pytest.raises(KeyboardInterrupt):
        await running.look(5)
    running.kubernetes.create_event = whole
    running.restarted()
    await running.look(1, times=3)
    assert running.state() == ("RolledBack", "CriterionFailed")


async def test_somebody_who_writes_the_secret_at_the_same_moment_is_no_reason_to_fail(running: Cluster) -> None:
    running.prometheus.counters = counters("5", (19_000, 100_000), (600, 5600))
    whole = running.kubernetes.patch_secret

    async def faster(*args: Any, **kwargs: Any) -> Any:
        running.kubernetes.patch_secret = whole
        await whole(NAMESPACE, SECRET, {"SOMETHING_ELSE": "x"})
        raise Conflict("somebody was faster", status=409)

    running.kubernetes.patch_secret = faster
    await running.look(3600, times=2)
    assert running.status()["stage"] == "two"
    assert running.flag[PERCENT] == "25"
    assert running.flag["SOMETHING_ELSE"] == "x"


@pytest.mark.parametrize("promotion", [False, True], ids=["at the start", "at a promotion"])
async def test_a_label_on_the_secret_at_the_same_moment_is_no_hand_that_cleared_the_flag(
    cluster: Cluster, promotion: bool
) -> None:
    await cluster.apply()
    if promotion:
        await cluster.look(times=3)
        cluster.prometheus.counters = counters("5", (19_000, 100_000), (600, 5600))
    whole = cluster.kubernetes.patch_secret

    async def faster(*args: Any, **kwargs: Any) -> Any:
        cluster.kubernetes.patch_secret = whole
        await whole(NAMESPACE, SECRET, {"SOMETHING_ELSE": "x"})
        return await whole(*args, **kwargs)

    cluster.kubernetes.patch_secret = faster
    await cluster.look(3600 if promotion else 0, times=3)
    assert cluster.state() == ("Progressing", "StageRunning")
    assert cluster.flag[PERCENT] == ("25" if promotion else "5")


async def test_a_flag_that_a_person_clears_at_the_moment_of_a_promotion_stays_clear(running: Cluster) -> None:
    running.prometheus.counters = counters("5", (19_000, 100_000), (600, 5600))
    whole = running.kubernetes.patch_secret

    async def faster(*args: Any, **kwargs: Any) -> Any:
        running.kubernetes.patch_secret = whole
        await running.clear_flag()
        return await whole(*args, **kwargs)

    running.kubernetes.patch_secret = faster
    await running.look(3600, times=3)
    assert running.status()["reason"] == "FlagClearedByHand"
    assert running.flag == {}


async def test_a_key_that_reappears_after_a_rollback_is_a_conflict_and_routes_nobody(running: Cluster) -> None:
    await running.annotate(ABORT, "true")
    await running.look(1, times=3)
    await running.write_flag(**{"": "true", "_PERCENT": "100"})
    await running.look(1)
    assert running.state() == ("RolledBack", "Aborted")
    assert running.condition("FlagConflict")["status"] == "True"
    facts = await running.facts()
    assert route(facts.flag, uid="anything", owner=facts.owner).reason == "FlagConflict"


# -- people and their mistakes


async def test_an_abort_is_heard_once_and_taken_off(running: Cluster) -> None:
    await running.annotate(ABORT, "true")
    await running.look(1)
    assert running.state()[1] == "Aborted"
    assert running.flag == {}
    assert not running.body()["metadata"].get("annotations")


async def test_a_word_that_is_said_while_the_one_before_it_is_taken_off_is_heard(running: Cluster) -> None:
    def again(step: steps.Step, moment: steps.Moment) -> None:
        if (step, moment) == (steps.Step.DROP_ANNOTATION, steps.Moment.BEFORE):
            steps.arm(None)
            (found,) = [body for key, body in running.kubernetes.objects.items() if key[0] == ROLLOUTS.plural]
            found["metadata"]["annotations"][PAUSE] = "for another reason"

    await running.annotate(PAUSE, "for a reason")
    steps.arm(again)
    try:
        await running.look(1, times=3)
    finally:
        steps.arm(None)
    assert running.status()["pausedBy"] == "for another reason"
    assert not running.body()["metadata"].get("annotations")


async def test_a_wrong_spec_is_a_condition_and_an_event_with_the_path(cluster: Cluster) -> None:
    stages = [{"name": "a", "percent": 50, "duration": "1h"}, {"name": "b", "percent": 25, "duration": "x"}]
    await cluster.apply(stages=stages)
    await cluster.look(times=2)
    assert cluster.state() == ("Pending", "InvalidSpec")
    assert "spec.stages[1].duration" in cluster.condition("Valid")["message"]
    [told] = cluster.kubernetes.told("InvalidSpec")
    assert "spec.stages[1].duration" in told


async def test_a_spec_that_is_corrected_starts(cluster: Cluster) -> None:
    await cluster.apply(deadman="1s")
    await cluster.look(times=2)
    await cluster.kubernetes.patch(ROLLOUTS, NAMESPACE, "v2", {"spec": {"deadman": "1h"}})
    await cluster.look(times=3)
    assert cluster.state() == ("Progressing", "StageRunning")
    assert cluster.condition("Valid")["status"] == "True"


async def test_a_missing_secret_is_a_condition_with_the_path(cluster: Cluster) -> None:
    await cluster.apply(flag={"secret": "nowhere"})
    await cluster.look(times=2)
    assert cluster.state() == ("Pending", "SecretMissing")
    assert cluster.condition("Valid")["message"].startswith("spec.flag.secret")


async def test_a_secret_that_the_role_does_not_name_is_a_condition_with_the_path(cluster: Cluster) -> None:
    async def forbid(*_: Any) -> Any:
        raise Refused("secrets is forbidden", status=403)

    cluster.kubernetes.secret = forbid
    await cluster.apply(flag={"secret": "not-ours"})
    await cluster.look(times=2)
    assert cluster.state() == ("Pending", "SecretForbidden")
    assert cluster.condition("Valid")["message"].startswith("spec.flag.secret")


async def test_a_secret_that_the_router_does_not_read_is_refused(cluster: Cluster) -> None:
    cluster.kubernetes.add_secret("another")
    await cluster.apply(flag={"secret": "another"})
    await cluster.look(times=2)
    assert cluster.state() == ("Pending", "SecretNotRouted")


async def test_the_older_rollout_owns_the_flag_and_the_other_says_so(running: Cluster) -> None:
    running.clock.advance(5)
    await running.apply("younger")
    await running.look(times=2, name="younger")
    assert running.state("younger") == ("Pending", "Conflict")
    assert f"{NAMESPACE}/v2" in running.status("younger")["message"]
    await running.look(1)
    assert running.flag[PERCENT] == "5"


async def test_a_spoiled_status_is_taken_from_the_log(running: Cluster) -> None:
    await running.kubernetes.patch_status(ROLLOUTS, NAMESPACE, "v2", {"phase": "Dancing"})
    running.restarted()
    await running.look(1, times=2)
    assert running.state() == ("Progressing", "StageRunning")


async def test_without_a_log_a_spoiled_status_begins_anew_and_takes_no_flag_over(running: Cluster) -> None:
    await running.kubernetes.patch_status(ROLLOUTS, NAMESPACE, "v2", {"phase": "Dancing"})
    running.store = MemoryStore()
    running.restarted()
    await running.look(1, times=2)
    assert running.state() == ("Pending", "FlagConflict")


# -- news that come in another order


async def test_news_that_are_older_than_what_is_known_change_nothing(running: Cluster) -> None:
    before = copy.deepcopy(running.body())
    await running.kubernetes.patch(ROLLOUTS, NAMESPACE, "v2", {"spec": {"paused": True}})
    await running.look(1)
    await running.controller.handle(before)
    await running.controller.reconcile(before["metadata"]["uid"])
    assert running.state() == ("Paused", "Paused")


async def test_an_api_server_that_was_set_back_is_believed(running: Cluster) -> None:
    """Its backup has a rollout that is paused, and lower versions than it had told before."""
    running.body()["spec"]["paused"] = True
    running.body()["metadata"]["resourceVersion"] = "1"
    await running.look(1)
    assert running.state() == ("Paused", "Paused")


# -- deletion


async def test_a_rollout_is_kept_until_its_flag_is_clear(running: Cluster) -> None:
    assert FINALIZER in running.body()["metadata"]["finalizers"]
    running.body()["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:10Z"
    await running.look(1, times=2)
    assert running.flag == {}
    assert FINALIZER not in running.body()["metadata"]["finalizers"]


async def test_what_its_evidence_was_counted_from_goes_with_it_and_its_log_stays(running: Cluster) -> None:
    uid, attempt = running.body()["metadata"]["uid"], running.status()["attemptId"]
    assert await running.store.baselines(attempt) is not None
    running.body()["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:10Z"
    await running.look(1, times=2)
    assert await running.store.baselines(attempt) is None
    assert await running.store.decisions(uid)


async def test_a_store_that_is_away_keeps_nobody_from_deleting_a_rollout(
    running: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> int:
        raise StoreUnavailable("away")

    monkeypatch.setattr(running.store, "drop_evidence", away)
    running.body()["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:10Z"
    await running.look(1, times=2)
    assert FINALIZER not in running.body()["metadata"]["finalizers"]


async def test_other_finalizers_are_left_alone(cluster: Cluster) -> None:
    await cluster.apply()
    cluster.body()["metadata"]["finalizers"] = ["somebody.else/s"]
    await cluster.look(times=3)
    assert cluster.body()["metadata"]["finalizers"] == ["somebody.else/s", FINALIZER]
    cluster.body()["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:10Z"
    await cluster.look(1, times=2)
    assert cluster.body()["metadata"]["finalizers"] == ["somebody.else/s"]


async def test_a_resource_that_is_gone_is_forgotten(running: Cluster) -> None:
    body = running.body()
    await running.kubernetes.delete(ROLLOUTS, NAMESPACE, "v2")
    running.prometheus.counters = GOOD  # something to write
    assert await running.controller.reconcile(body["metadata"]["uid"]) == 0.0
    assert running.controller.facts(running.clock.now()).owner is None


# -- trouble


async def test_an_api_server_that_is_away_is_tried_again_later_and_later(running: Cluster) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("no answer")

    running.prometheus.counters = GOOD
    running.kubernetes.patch_status = away
    first, second = await running.look(5), await running.look(5)
    assert 0 < first < second
    assert running.flag[PERCENT] == "5"


async def test_a_defect_of_ours_is_said_once_and_does_not_end_the_loop(running: Cluster) -> None:
    async def defect(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("oh")

    running.store.totals = defect  # type: ignore[method-assign]  # the defect is the test's point
    await running.look(5)
    await running.look(5)
    assert running.kubernetes.told("ReconcileFailed") == ["ZeroDivisionError: oh"]


async def test_the_router_stays_on_v1_until_the_flag_was_read(cluster: Cluster) -> None:
    assert cluster.controller.facts(cluster.clock.now()).flag is UNREAD


async def test_the_start_reads_the_flag_and_the_rollouts(running: Cluster) -> None:
    controller = running.restarted()
    await controller.start()
    facts = controller.facts(running.clock.now())
    assert (facts.flag.reason, facts.owner) == (FlagReason.PERCENT, Owner.ACTIVE)
    assert facts.attempt == running.status()["attemptId"]


async def test_a_flag_that_changes_is_noticed_without_anybody_telling(running: Cluster) -> None:
    """The loops as they run in the operator: poll, notice, reconcile."""
    controller = running.restarted()
    await controller.start()
    tasks = [asyncio.ensure_future(loop()) for loop in controller.loops().values()]
    try:
        await running.clear_flag()
        async with asyncio.timeout(30):
            while running.state()[1] != "FlagClearedByHand":
                await asyncio.sleep(0.01)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
