"""What a Job and its Pods say about an attempt. Pure: `now` is an argument.

    judge(job, pods, now, limits) ─▶ Waiting (why, and when to look again) | Done | Broken (kind, sentence)

A Job is created with backoffLimit 0: whatever happens to its Pod ends it, and the workflow's own retry decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from orchestrator.durations import show
from orchestrator_operator.jobs.manifest import CONTAINER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_NO_IMAGE: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable"})
_NO_START: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_LATE: Final = timedelta(seconds=60)  # behind its deadline, in which the Job controller should have ended it
_AS_ROOT: Final = "runAsNonRoot"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an attempt may take, and how long its Pod may be unable to start."""

    timeout: timedelta
    grace: timedelta


@dataclass(frozen=True, slots=True)
class Waiting:
    """It goes on; `until` is when to look again though nothing changed."""

    why: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """The program ended with 0."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The attempt failed. `remove`: its Job would go on, and is to be deleted. `ran`: the program has a log."""

    kind: str
    message: str
    retryable: bool = True
    remove: bool = False
    ran: bool = False


def judge(
    job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], now: datetime, limits: Limits
) -> Waiting | Done | Broken:
    """What is to be made of a Job as it is now."""
    if _condition(job, "Complete"):
        return Done()
    if failed := _condition(job, "Failed"):
        return _failed(failed, pods, limits)
    if job["metadata"].get("deletionTimestamp"):
        return Broken("JobDeleted", f"somebody deleted the Job {job['metadata']['name']} before it ended")
    return _stuck(pods, now, limits) or _in_time(job, pods, now, limits)


def _in_time(
    job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], now: datetime, limits: Limits
) -> Waiting | Broken:
    deadline = _began(job) + limits.timeout + _LATE
    ending = _condition(job, "FailureTarget")  # a verdict is there, and its Pods are not gone yet
    if now < deadline:
        return Waiting("" if ending else _why(pods).removeprefix("; "), _next_look(pods, deadline, now, limits))
    if ending:  # the node of its Pod is dead, say: that is not waited for without end
        return _failed(ending, pods, limits)
    return Broken("Timeout", f"not over after {show(limits.timeout)}{_why(pods)}", remove=True)


def over(job: Mapping[str, Any]) -> bool:
    """Whether nothing of a Job runs any more."""
    return _condition(job, "Complete") is not None or _condition(job, "Failed") is not None


def pod_of(pods: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The Pod that ran: there is one, or, where the first never started, the newest."""
    return max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), default=None)


def terminated(pod: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """How the program ended: exitCode, reason, message."""
    state: Mapping[str, Any] | None = (_status(pod).get("state") or {}).get("terminated")
    return state


def _failed(condition: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], limits: Limits) -> Broken:
    if condition.get("reason") == "DeadlineExceeded":
        return Broken("Timeout", f"not over after {show(limits.timeout)}{_why(pods)}", ran=True)
    pod = pod_of(pods)
    if pod is None:
        return Broken("PodLost", f"its Pod is gone: {condition.get('message') or 'nobody says why'}")
    if (disrupted := _condition(pod, "DisruptionTarget")) or pod["status"].get("reason") == "Evicted":
        why = (disrupted or {}).get("message") or pod["status"].get("message") or "nobody says why"
        return Broken("PodEvicted", f"its Pod was taken away: {why}", ran=True)
    ended = terminated(pod)
    if ended is None:
        return Broken("PodLost", f"its Pod {pod['metadata']['name']} was deleted before it ended")
    if ended.get("reason") == "OOMKilled":
        return Broken("OutOfMemory", "it took more memory than with.resources.memory allows", ran=True)
    return Broken("ContainerFailed", _exited(ended), ran=True)


def _exited(ended: Mapping[str, Any]) -> str:
    reason = ended.get("reason")
    told = f" ({reason}: {ended.get('message') or 'nobody says why'})" if reason == "StartError" else ""
    return f"exit code {ended.get('exitCode')}{told}"


def _stuck(pods: Sequence[Mapping[str, Any]], now: datetime, limits: Limits) -> Broken | None:
    pod = pod_of(pods)
    reason, message = _waiting(pod)
    if reason == "InvalidImageName":
        return Broken("ImageUnavailable", f"{reason}: {message}", retryable=False, remove=True)
    since = _scheduled(pod)
    if reason not in _NO_IMAGE | _NO_START or since is None or now < since + limits.grace:
        return None
    kind = "ImageUnavailable" if reason in _NO_IMAGE else "ContainerNotStarted"
    hint = "; set with.user to a number above 0" if _AS_ROOT in message else ""
    return Broken(kind, f"not started within {show(limits.grace)}: {reason}: {message}{hint}", remove=True)


def _why(pods: Sequence[Mapping[str, Any]]) -> str:
    """What the Pod waits for, behind a semicolon; nothing when it runs."""
    pod = pod_of(pods)
    if pod is None:
        return "; there is no Pod yet: `kubectl describe job` says why"
    reason, message = _waiting(pod)
    if reason:
        return f"; {reason}: {message}" if message else f"; {reason}"
    unscheduled = next((c for c in pod["status"].get("conditions") or () if c["type"] == "PodScheduled"), None)
    if unscheduled is not None and unscheduled["status"] == "False":
        return f"; its Pod has no node: {unscheduled.get('message')}"
    return ""


def _next_look(pods: Sequence[Mapping[str, Any]], deadline: datetime, now: datetime, limits: Limits) -> datetime:
    since = _scheduled(pod_of(pods))
    moments = [deadline] + ([since + limits.grace] if since is not None else [])
    return min(moment for moment in moments if moment > now)


def _waiting(pod: Mapping[str, Any] | None) -> tuple[str, str]:
    state = (_status(pod).get("state") or {}).get("waiting") or {}
    return str(state.get("reason") or ""), str(state.get("message") or "")


def _scheduled(pod: Mapping[str, Any] | None) -> datetime | None:
    condition = _condition(pod, "PodScheduled") if pod is not None else None
    return _moment(condition["lastTransitionTime"]) if condition and condition.get("lastTransitionTime") else None


def _status(pod: Mapping[str, Any] | None) -> Mapping[str, Any]:
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or ()
    return next((one for one in statuses if one["name"] == CONTAINER), {})


def _condition(body: Mapping[str, Any], type_: str) -> Mapping[str, Any] | None:
    """A condition that holds, else None."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == type_ and one["status"] == "True"), None)


def _began(job: Mapping[str, Any]) -> datetime:
    return _moment((job.get("status") or {}).get("startTime") or job["metadata"]["creationTimestamp"])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
