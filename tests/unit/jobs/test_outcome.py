"""What a Job and its Pods say about an attempt, as the Job controller and the kubelet write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from orchestrator_operator.jobs.outcome import Broken, Done, Limits, Waiting, judge

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = Limits(timeout=timedelta(minutes=10), grace=timedelta(minutes=2))


def text(seconds: float) -> str:
    return (AT + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def job(*conditions: tuple[str, str], **meta: Any) -> dict[str, Any]:
    told = [{"type": type_, "status": "True", "reason": reason, "message": "said so"} for type_, reason in conditions]
    metadata = {"name": "box-1", "uid": "u", "creationTimestamp": text(0), **meta}
    return {"metadata": metadata, "status": {"startTime": text(0), "conditions": told}}


def pod(state: dict[str, Any] | None = None, scheduled: str = "True", **status: Any) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": scheduled, "lastTransitionTime": text(5), "message": "0/3 nodes"}
    statuses = [{"name": "step", "state": state}] if state is not None else []
    conditions = [condition, *status.pop("conditions", ())]
    return {
        "metadata": {"name": "box-1-x", "creationTimestamp": text(1)},
        "status": {"containerStatuses": statuses, "conditions": conditions, **status},
    }


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    return pod({"terminated": {"exitCode": code, "reason": reason, "message": "why"}})


def waits(reason: str, message: str = "why") -> dict[str, Any]:
    return pod({"waiting": {"reason": reason, "message": message}})


def look(job: dict[str, Any], *pods: dict[str, Any], after: float = 10) -> Waiting | Done | Broken:
    return judge(job, pods, AT + timedelta(seconds=after), LIMITS)


def broken(job: dict[str, Any], *pods: dict[str, Any], after: float = 10) -> Broken:
    verdict = look(job, *pods, after=after)
    assert isinstance(verdict, Broken)
    return verdict


FAILED = job(("Failed", "BackoffLimitExceeded"))


def test_a_complete_job_is_done() -> None:
    assert look(job(("Complete", "CompletionsReached")), ended(0, "Completed")) == Done()


def test_one_that_runs_is_waited_for_until_its_deadline() -> None:
    assert look(job(), pod({"running": {}})) == Waiting("", AT + timedelta(seconds=125))
    assert look(job(), pod({"running": {}}), after=200) == Waiting("", AT + timedelta(seconds=660))


@pytest.mark.parametrize(
    ("found", "kind", "words"),
    [
        (ended(3), "ContainerFailed", "exit code 3"),
        (ended(128, "StartError"), "ContainerFailed", "StartError: why"),
        (ended(137, "OOMKilled"), "OutOfMemory", "with.resources.memory"),
        (pod({"running": {}}), "PodLost", "was deleted before it ended"),
    ],
)
def test_a_program_that_failed_says_how(found: dict[str, Any], kind: str, words: str) -> None:
    verdict = broken(FAILED, found)
    assert (verdict.kind, verdict.retryable, verdict.remove) == (kind, True, False)
    assert words in verdict.message


def test_an_eviction_is_no_fault_of_the_program() -> None:
    disrupted = {"type": "DisruptionTarget", "status": "True", "message": "the node is drained"}
    by_condition = pod({"terminated": {"exitCode": 143}}, conditions=[disrupted])
    by_reason = pod(None, reason="Evicted", message="the node was low on memory")
    assert broken(FAILED, by_condition).kind == broken(FAILED, by_reason).kind == "PodEvicted"
    assert "drained" in broken(FAILED, by_condition).message


def test_a_pod_that_is_gone_is_told_as_that() -> None:
    assert broken(FAILED).kind == "PodLost"


def test_the_deadline_is_a_timeout() -> None:
    verdict = broken(job(("Failed", "DeadlineExceeded")))
    assert (verdict.kind, verdict.retryable) == ("Timeout", True)
    assert "10m" in verdict.message


def test_a_deleted_job_has_failed_unless_it_had_ended_before() -> None:
    assert broken(job(deletionTimestamp=text(9))).kind == "JobDeleted"
    assert look(job(("Complete", ""), deletionTimestamp=text(9))) == Done()


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_an_image_that_cannot_be_pulled_is_given_its_grace(reason: str) -> None:
    assert look(job(), waits(reason), after=124) == Waiting(f"{reason}: why", AT + timedelta(seconds=125))
    verdict = broken(job(), waits(reason), after=125)
    assert (verdict.kind, verdict.retryable, verdict.remove) == ("ImageUnavailable", True, True)


def test_a_name_that_is_no_image_fails_at_once_and_for_good() -> None:
    verdict = broken(job(), waits("InvalidImageName"))
    assert (verdict.kind, verdict.retryable, verdict.remove) == ("ImageUnavailable", False, True)


def test_an_image_that_runs_as_root_is_told_what_to_set() -> None:
    message = "container has runAsNonRoot and image will run as root"
    verdict = broken(job(), waits("CreateContainerConfigError", message), after=125)
    assert verdict.kind == "ContainerNotStarted"
    assert "set with.user" in verdict.message


def test_a_pod_without_a_node_is_waited_for_as_long_as_the_step_may_take() -> None:
    verdict = look(job(), pod(None, scheduled="False"), after=300)
    assert isinstance(verdict, Waiting)
    assert "0/3 nodes" in verdict.why


def test_a_job_that_nobody_ends_is_ended_by_us() -> None:
    verdict = broken(job(), pod({"running": {}}), after=660)
    assert (verdict.kind, verdict.remove) == ("Timeout", True)


def test_a_verdict_waits_for_the_pods_end_but_not_for_a_dead_nodes() -> None:
    ending = job(("FailureTarget", "BackoffLimitExceeded"))
    assert isinstance(look(ending, ended(3)), Waiting)
    assert broken(ending, ended(3), after=660).kind == "ContainerFailed"
