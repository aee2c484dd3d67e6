"""What must hold for every execution of V2, whatever crashed meanwhile: a list of rules, each a small pure function.

    row + history + workflow ▶ violations

The same function judges an execution in tests under faults, and in an operator's hand by `orchestrator executions
verify`. Rules look at what is generic (the fold, the projection, the order of events), so a new kind of event is
judged by them from its first day.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

from orchestrator import events as e
from orchestrator.decide import project
from orchestrator.errors import OrchestratorError
from orchestrator.fold import fold
from orchestrator.model import Projection, step_key_of
from orchestrator.states import advance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from orchestrator.model import Execution, Failure, Status, Workflow


class Row(Protocol):
    """What is looked at of an execution's row; `store.ExecutionRecord` is one."""

    @property
    def id(self) -> str: ...
    @property
    def workflow_id(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def status(self) -> Status: ...
    @property
    def current_node(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def finished_at(self) -> datetime | None: ...
    @property
    def output(self) -> Any: ...
    @property
    def failure(self) -> Failure | None: ...
    @property
    def seq(self) -> int: ...
    @property
    def owner(self) -> str | None: ...
    @property
    def due_at(self) -> datetime | None: ...
    @property
    def cancel_requested(self) -> bool: ...
    @property
    def suspend_requested(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that cannot be: by which rule, of which execution, and what was seen."""

    rule: str
    execution_id: str
    message: str

    def __str__(self) -> str:
        return f"execution {self.execution_id}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class _Facts:
    """What the rules look at."""

    row: Row
    history: Sequence[e.Recorded]
    workflow: Workflow

    @cached_property
    def folded(self) -> Execution | OrchestratorError:
        """The state that the history tells of, or why it cannot be true."""
        try:
            return fold(self.row.id, self.history)
        except OrchestratorError as error:
            return error

    @cached_property
    def ends(self) -> list[e.Recorded]:
        """The events after which the execution was over."""
        found: list[e.Recorded] = []
        status: Status | None = None
        for recorded in self.history:
            try:
                status = advance(status, recorded.event)
            except OrchestratorError:
                # Told by another rule; what comes after an end is still looked for.
                continue
            if status.terminal:
                found.append(recorded)
        return found


def violations(row: Row, history: Sequence[e.Recorded], workflow: Workflow) -> list[Violation]:
    """What is wrong with an execution of V2; an empty list when nothing is.

    `history` is all of its events in the order of `seq`, of the same moment as `row`: whoever reads the two one after
    the other from a store that is at work compares `row.seq` again afterwards. `workflow` is the revision that the
    execution is pinned to.
    """
    facts = _Facts(row, history, workflow)
    return [Violation(name, row.id, message) for name, rule in RULES.items() for message in rule(facts)]


# -- the rules: each yields a sentence for everything that it finds


def _contiguous(facts: _Facts) -> Iterator[str]:
    if not facts.history:
        yield "it has no events"
    for expected, recorded in enumerate(facts.history, 1):
        if recorded.seq != expected:
            yield f"event {recorded.seq} stands where {expected} belongs"
            return


def _row_is_at_the_last_event(facts: _Facts) -> Iterator[str]:
    if facts.history and facts.history[-1].seq != facts.row.seq:
        yield f"the row says {facts.row.seq}, the last event is {facts.history[-1].seq}"


def _legal(facts: _Facts) -> Iterator[str]:
    if isinstance(facts.folded, OrchestratorError):
        yield str(facts.folded)


def _pinned(facts: _Facts) -> Iterator[str]:
    first = facts.history[0].event if facts.history else None
    if not isinstance(first, e.ExecutionSubmitted):
        return
    told = (first.workflow_id, first.revision)
    row, workflow = facts.row, facts.workflow
    for name, pinned in ("row", (row.workflow_id, row.revision)), ("workflow", (workflow.id, workflow.revision)):
        if pinned != told:
            yield f"it was submitted with {told}, the {name} is of {pinned}"


def _row_is_the_fold(facts: _Facts) -> Iterator[str]:
    if isinstance(facts.folded, OrchestratorError):
        return
    row, state = facts.row, facts.folded
    projected = _columns(project(facts.workflow, state)) | {
        "cancel_requested": state.cancel_requested,
        "suspend_requested": state.suspend_requested,
    }
    worked = (r.event for r in facts.history if isinstance(r.event, e.STEP) and not isinstance(r.event, e.StepCarried))
    if row.current_node == "" and not any(worked):
        del projected["current_node"]  # a worker names it with its first append; a claim does not know the workflow
    for name, wanted in projected.items():
        found = getattr(row, name)
        if found != wanted:
            yield f"the row's {name} is {found!r}, its events say {wanted!r}"


def _one_completion_a_step(facts: _Facts) -> Iterator[str]:
    completed = Counter(step_key_of(event) for event in _of(facts, e.StepCompleted, e.StepCarried))
    for step, times in completed.items():
        if times > 1:
            yield f"{times} completions of {step} were accepted"


def _attempts_count_up(facts: _Facts) -> Iterator[str]:
    attempts: dict[str, list[int]] = defaultdict(list)
    for event in _of(facts, e.StepCompleted, e.StepFailed):
        attempts[step_key_of(event)].append(event.attempt)
    for step, seen in attempts.items():
        if seen != list(range(1, len(seen) + 1)):
            yield f"the attempts of {step} are {seen}"


def _nothing_after_the_end(facts: _Facts) -> Iterator[str]:
    if not facts.ends or not facts.history:
        return
    end, last = facts.ends[0], facts.history[-1]
    if last.seq > end.seq:
        yield f"it ended with event {end.seq} ({_name(end)}), and event {last.seq} ({_name(last)}) came after it"


def _the_end_is_final(facts: _Facts) -> Iterator[str]:
    """Over in the events, over in the row, and wanted by no worker: all of it or nothing."""
    row = facts.row
    over = {"events": bool(facts.ends), "status": row.status.terminal, "finished_at": row.finished_at is not None}
    if len(set(over.values())) > 1:
        yield f"is it over? {over}"
    if row.status.terminal and row.owner is not None:
        yield f"it is {row.status} and still owned by {row.owner}"
    if row.status.terminal and row.due_at is not None:
        yield f"it is {row.status} and still due at {row.due_at.isoformat()}"


def _commits_are_whole(facts: _Facts) -> Iterator[str]:
    """Events that were appended together stand together: each names the first of its append."""
    before = 0
    for recorded in facts.history:
        if recorded.append_seq not in (before, recorded.seq):
            yield f"event {recorded.seq} says that its append began at {recorded.append_seq}, the one before: {before}"
            return
        before = recorded.append_seq


#: By the name under which a violation is told.
RULES: Final[Mapping[str, Callable[[_Facts], Iterable[str]]]] = {
    "seq is contiguous": _contiguous,
    "the row is at the last event": _row_is_at_the_last_event,
    "only legal transitions": _legal,
    "pinned to its workflow": _pinned,
    "the row is the fold of the events": _row_is_the_fold,
    "one accepted completion a step": _one_completion_a_step,
    "attempts count up": _attempts_count_up,
    "nothing after the end": _nothing_after_the_end,
    "the end is final": _the_end_is_final,
    "commits are whole": _commits_are_whole,
}


def _of(facts: _Facts, *kinds: type[Any]) -> Iterator[Any]:
    return (recorded.event for recorded in facts.history if isinstance(recorded.event, kinds))


def _name(recorded: e.Recorded) -> str:
    return type(recorded.event).__name__


def _columns(projection: Projection) -> dict[str, Any]:
    return {field.name: getattr(projection, field.name) for field in fields(Projection)}
