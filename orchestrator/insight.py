"""Why an execution waits, or what it does, in one sentence. Pure: everything that is looked at is an argument.

The rules below are asked in their order; the first that has something to say is heard.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from orchestrator import events as e
from orchestrator.decide.undoing import undoable
from orchestrator.insight_steps import running, standing
from orchestrator.model import Engine, Status, StepStatus
from orchestrator.wording import count, failure, length, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from orchestrator.model import Execution, Workflow
    from orchestrator.store.records import ExecutionRecord

_PATIENCE: Final = timedelta(seconds=5)  # so long nothing is said about a worker that does not come


@dataclass(frozen=True)
class Seen:
    """An execution as it stands; of V1 there is only the row."""

    record: ExecutionRecord
    now: datetime
    lease: timedelta  # as the workers have it: tells since when one is silent
    workflow: Workflow | None = None
    history: Sequence[e.Recorded] = ()
    execution: Execution | None = None
    before: int = 0  # of the executions queued under the same limit, those that are older
    repeated_as: str | None = None  # the execution that repeats this one

    @cached_property
    def last_at(self) -> datetime:
        """When something happened to it last."""
        return self.history[-1].event.at if self.history else self.record.started_at or self.record.created_at


def explain(seen: Seen) -> str:
    """The sentence."""
    return next(said for rule in RULES if (said := rule(seen)) is not None)


def _over(seen: Seen) -> str | None:
    record = seen.record
    if record.finished_at is None:
        return None
    took = length(record.finished_at - (record.started_at or record.created_at))
    again = f"; repeated as {seen.repeated_as}" if seen.repeated_as else ""
    if record.status is Status.SUCCESS:
        return f"succeeded after {took}{again}"
    if record.status is Status.CANCELLED:
        end = seen.history[-1].event if seen.history else None
        why = f": {end.reason}" if isinstance(end, e.ExecutionCancelled) and end.reason else ""
        return f"cancelled after {took}{why}{_undone(seen)}{again}"
    failed = record.failure
    where = f" at `{failed.node}`" if failed and failed.node else ""
    tries = seen.execution.step(failed.node).attempts if seen.execution and failed and failed.node else 0
    where += f" (all {tries} attempts)" if tries > 1 else ""
    return f"failed{where} after {took}: {failure(failed)}{_undone(seen)}{again}"


def _undone(seen: Seen) -> str:
    if seen.execution is None:
        return ""
    states = {key: state.status for key, state in seen.execution.steps.items() if key.endswith(":compensate")}
    if not states:
        return ""
    left = [key.partition(":")[0] for key, status in states.items() if status is StepStatus.FAILED]
    not_undone = f", NOT {quoted(sorted(left))}" if left else ""
    return f"; {len(states) - len(left)} of {count(len(states), 'step')} undone{not_undone}"


def _of_v1(seen: Seen) -> str | None:
    record = seen.record
    if record.engine is not Engine.V1:
        return None
    if record.status is Status.PENDING:
        return _unclaimed(seen, "pending")
    if record.status is Status.SUSPENDED:
        return _held_back(seen)
    at = f" at `{record.current_node}`" if record.current_node else ""
    return f"{record.status}{at} on V1, which keeps no history and stays so if its process dies"


def _queued(seen: Seen) -> str | None:
    record = seen.record
    if not record.queued:
        return None
    if record.cancel_requested:
        return "queued, and being cancelled: a worker ends it in a moment"
    before = f"{seen.before} before it" if seen.before else "it is the next"
    return f"queued behind limit {record.limit} of {record.limit_key} ({before})"


def _pending(seen: Seen) -> str | None:
    return _unclaimed(seen, "pending") if seen.record.status is Status.PENDING else None


def _unclaimed(seen: Seen, what: str) -> str:
    since = seen.now - (seen.record.due_at or seen.record.created_at)
    if since < _PATIENCE:
        return f"{what}: a worker takes it in a moment"
    return f"{what}: no worker has claimed it for {length(since)}; is one running?"


def _suspended(seen: Seen) -> str | None:
    return _held_back(seen) if seen.record.status is Status.SUSPENDED else None


def _held_back(seen: Seen) -> str:
    record = seen.record
    if record.cancel_requested:
        return "suspended, and being cancelled: a worker ends it in a moment"
    if not record.suspend_requested:
        return _unclaimed(seen, "resumed")
    reasons = [r.event.reason for r in seen.history if isinstance(r.event, e.ExecutionSuspended)]
    reason = reasons[-1] if reasons else record.message or "requested"
    why = "by request" if reason == "requested" else f"({reason})"
    return f"suspended {why} for {length(seen.now - seen.last_at)}: `orchestrator executions resume {record.id}`"


def _silent(seen: Seen) -> str | None:
    """A worker renews its leases three times in each; one that missed two is silent."""
    record = seen.record
    if record.owner is None or record.due_at is None:
        return None
    heard = record.due_at - seen.lease
    silence = seen.now - heard
    if silence < seen.lease * 2 / 3:
        return None
    since = f"its worker {record.owner} has been silent for {length(silence)}"
    if record.due_at <= seen.now:
        return f"{since}; {_takes_over(seen.now - record.due_at)}"
    return f"{since}; another takes over when its lease ends, in {length(record.due_at - seen.now)}"


def _takes_over(since: timedelta) -> str:
    if since < _PATIENCE:
        return "another takes over in a moment"
    return f"its lease ended {length(since)} ago and no other worker took over: is one running?"


def _overdue(seen: Seen) -> str | None:
    record = seen.record
    if record.owner is not None or record.due_at is None or seen.now - record.due_at < _PATIENCE:
        return None
    return f"was due {length(seen.now - record.due_at)} ago and no worker took it: is one running? ({_moving(seen)})"


def _cancelling(seen: Seen) -> str | None:
    if not seen.record.cancel_requested or seen.record.status is Status.COMPENSATING:
        return None
    return f"being cancelled: {_until_then(seen)}"


def _suspending(seen: Seen) -> str | None:
    if not seen.record.suspend_requested or seen.record.status is Status.COMPENSATING:
        return None
    return f"being suspended: {_until_then(seen)}"


def _until_then(seen: Seen) -> str:
    """What has to end first."""
    x = seen.execution
    children = [] if x is None else [s.child for s in x.steps.values() if s.status is StepStatus.WAITING and s.child]
    if children and seen.record.cancel_requested:
        return f"{count(len(children), 'child execution')} must end first ({children[0]})"
    if seen.record.owner is not None:
        return f"steps in flight on worker {seen.record.owner} end first"
    return "a worker does it in a moment"


def _compensating(seen: Seen) -> str | None:
    x, workflow = seen.execution, seen.workflow
    if x is None or workflow is None or x.status is not Status.COMPENSATING:
        return None
    keys = undoable(workflow, x)
    states = [x.step(f"{key}:compensate") for key in keys]
    done = sum(state.status is StepStatus.COMPLETED for state in states)
    lost = sum(state.status is StepStatus.FAILED for state in states)
    why = f" because {_why(seen)}" if x.failure else " because it was cancelled"
    now = next(
        (
            f"; {standing(workflow, x, f'{k}:compensate', seen.now)}"
            for k, s in zip(keys, states, strict=True)
            if not s.status.terminal
        ),
        "",
    )
    not_undone = f", {lost} could not be" if lost else ""
    return f"being compensated{why}: {done} of {len(keys)} undone{not_undone}{now}"


def _why(seen: Seen) -> str:
    failed = seen.execution.failure if seen.execution else None
    where = f"`{failed.node}` failed with " if failed and failed.node else ""
    return f"{where}{failure(failed)}"


def _failing(seen: Seen) -> str | None:
    x = seen.execution
    if x is None or (x.failed_step is None and not x.timed_out):
        return None
    why = "its time is over"
    if x.failed_step is not None:
        why = f"`{x.failed_step}` failed with {failure(x.step(x.failed_step).failure)}"
    return f"failing, since {why}: {_steps(seen) or _until_then(seen)}"


def _moving(seen: Seen) -> str:
    owner = seen.record.owner
    return _steps(seen) or (f"between two steps on worker {owner}" if owner else "a worker takes it in a moment")


def _steps(seen: Seen) -> str | None:
    if seen.execution is None or seen.workflow is None:
        return None
    return running(seen.workflow, seen.execution, seen.now, seen.record.owner, seen.last_at)


RULES: Final[tuple[Callable[[Seen], str | None], ...]] = (
    _over,
    _of_v1,
    _queued,
    _pending,
    _suspended,
    _silent,
    _overdue,
    _cancelling,
    _suspending,
    _compensating,
    _failing,
    _moving,
)
