"""What happened to an execution's steps, and when: one line a node or compensation, made of its history. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from orchestrator import events as e
from orchestrator.model import step_key
from orchestrator.wording import count, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import datetime

    from orchestrator.model import Workflow

#: How a stretch of time is drawn.
WORKED, WAITED, FAILED = "#", ".", "x"
QUEUED, SUSPENDED = "(queued)", "(suspended)"  # lines that are no step's


@dataclass(frozen=True, slots=True)
class Stretch:
    """From when to when a step did one thing; `end` is None while it goes on."""

    start: datetime
    end: datetime | None
    kind: str


@dataclass(slots=True)
class Line:
    """One step of the timeline, while it is put together."""

    key: str
    type: str = ""
    status: str = "pending"
    attempts: int = 0
    stretches: list[Stretch] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    items: dict[str, str] = field(default_factory=dict)  # of a map: each item's status
    total: int = 0

    @property
    def started(self) -> datetime | None:
        return min((stretch.start for stretch in self.stretches), default=None)

    @property
    def ended(self) -> datetime | None:
        ends = [stretch.end for stretch in self.stretches]
        return None if not ends or None in ends else max(end for end in ends if end is not None)

    def begin(self, at: datetime, kind: str) -> None:
        self.stretches.append(Stretch(at, None, kind))

    def end(self, at: datetime) -> None:
        """What goes on ends."""
        self.stretches = [Stretch(s.start, at, s.kind) if s.end is None else s for s in self.stretches]


def timeline(workflow: Workflow, history: Iterable[e.Recorded], in_flight: Collection[str] = ()) -> list[Line]:
    """The lines in the order in which they began; those that did not yet come last, as the workflow has them.

    A retry's pause is drawn as waiting, up to the moment that it was decided to last. Events tell when an attempt
    ended, not when it begins: the steps `in_flight` are said to be running.
    """
    lines: dict[str, Line] = {}
    for recorded in history:
        take = _TAKES.get(type(recorded.event))
        if take is not None:
            take(lines, recorded.event)
    for line in lines.values():
        _sum_up(line)
    rest = [line for line in lines.values() if line.started is None]
    rest += [Line(node.id, node.type) for node in workflow.nodes if node.id not in lines]
    for line in (*lines.values(), *rest):
        if line.key in in_flight:
            line.status = "running"
    begun = [
        line for _, _, line in sorted((line.started, n, line) for n, line in enumerate(lines.values()) if line.started)
    ]
    place = {node.id: index for index, node in enumerate(workflow.nodes)}
    return [*begun, *sorted(rest, key=lambda line: place.get(line.key.partition(":")[0], -1))]


def _line(lines: dict[str, Line], event: Any) -> Line:
    """The line of an event's step; a map's items share its own."""
    key = step_key(event.node, None if not getattr(event, "undo", False) else event.item, undo=_back(event))
    line = lines.setdefault(key, Line(key))
    if not _item(event):
        line.type = event.node_type
    return line


def _back(event: Any) -> bool:
    return bool(getattr(event, "undo", False))


def _item(event: Any) -> bool:
    return getattr(event, "item", None) is not None and not _back(event)


def _completed(lines: dict[str, Line], event: e.StepCompleted) -> None:
    line = _line(lines, event)
    if _item(event):
        line.items[str(event.item)] = "completed"
        line.attempts += 1
        return
    _attempt(line, event, WORKED)
    line.status = "completed"


def _failed(lines: dict[str, Line], event: e.StepFailed) -> None:
    line = _line(lines, event)
    if _item(event):
        line.attempts += 1
        line.items[str(event.item)] = "failed" if event.retry_at is None else "retrying"
        if event.retry_at is None:
            line.notes.append(f"item {event.item}: {failure(event.failure)}")
        return
    _attempt(line, event, FAILED)
    line.status = "failed" if event.retry_at is None else "retrying"
    line.notes.append(failure(event.failure))
    if event.retry_at is not None:
        line.stretches.append(Stretch(event.at, event.retry_at, WAITED))


def _attempt(line: Line, event: e.StepCompleted | e.StepFailed, kind: str) -> None:
    if not line.total:  # a map counts the attempts of its items
        line.attempts = event.attempt
    if any(stretch.end is None for stretch in line.stretches):  # a wait, or a map: it was told when it began
        line.end(event.at)
        return
    if line.stretches and line.stretches[-1].end is not None and line.stretches[-1].end > event.started_at:
        line.stretches[-1] = Stretch(line.stretches[-1].start, event.started_at, line.stretches[-1].kind)
    line.stretches.append(Stretch(event.started_at, event.at, kind))


def _skipped(lines: dict[str, Line], event: e.StepSkipped) -> None:
    line = _line(lines, event)
    line.status = "skipped"
    line.notes.append(event.reason)


def _carried(lines: dict[str, Line], event: e.StepCarried) -> None:
    line = _line(lines, event)
    if _item(event):
        line.items[str(event.item)] = "carried"
        return
    line.status = "carried"
    line.notes.append("skipped there" if event.skipped else "done there")


def _waiting(lines: dict[str, Line], event: e.TimerStarted | e.SignalAwaited | e.ChildStarted) -> None:
    line = _line(lines, event)
    if isinstance(event, e.ChildStarted):
        line.notes.append(f"child {event.child}")
        if event.item is not None:
            line.items[event.item] = "waiting"
            return
        line.attempts = event.attempt
    line.status = "waiting"
    line.begin(event.at, WAITED)


def _mapped(lines: dict[str, Line], event: e.MapStarted) -> None:
    line = _line(lines, event)
    line.status, line.total = "mapping", len(event.keys)
    line.begin(event.at, WORKED)


def _submitted(lines: dict[str, Line], event: e.ExecutionSubmitted) -> None:
    lines[QUEUED] = Line(QUEUED, status="")
    lines[QUEUED].begin(event.at, WAITED)


def _started(lines: dict[str, Line], event: e.Event) -> None:
    lines[QUEUED].end(event.at)


def _suspended(lines: dict[str, Line], event: e.ExecutionSuspended) -> None:
    lines[QUEUED].end(event.at)
    line = lines.setdefault(SUSPENDED, Line(SUSPENDED, status=""))
    line.begin(event.at, WAITED)
    line.notes.append(event.reason)


def _resumed(lines: dict[str, Line], event: e.ExecutionResumed) -> None:
    lines[SUSPENDED].end(event.at)


def _over(lines: dict[str, Line], event: e.Event) -> None:
    """What was still waited for at the end is waited for no longer."""
    for line in lines.values():
        if any(stretch.end is None for stretch in line.stretches):
            line.end(event.at)
            line.status = "given up" if line.status else ""


_TAKES: Final[Mapping[type[e.Event], Callable[[dict[str, Line], Any], None]]] = {
    e.ExecutionSubmitted: _submitted,
    e.ExecutionStarted: _started,
    e.StepCarried: _carried,
    e.StepCompleted: _completed,
    e.StepFailed: _failed,
    e.StepSkipped: _skipped,
    e.TimerStarted: _waiting,
    e.SignalAwaited: _waiting,
    e.ChildStarted: _waiting,
    e.MapStarted: _mapped,
    e.ExecutionSuspended: _suspended,
    e.ExecutionResumed: _resumed,
    e.ExecutionSucceeded: _over,
    e.ExecutionFailed: _over,
    e.ExecutionCancelled: _over,
}


def _sum_up(line: Line) -> None:
    """A map's items in a few words; of many notes the last."""
    if not line.items and not line.total:
        line.notes = line.notes[-1:]
        return
    states = list(line.items.values())
    told = [
        f"{states.count(state)} {state}" for state in ("carried", "failed", "retrying", "waiting") if state in states
    ]
    done = states.count("completed") + states.count("carried")
    line.notes = [f"{done} of {count(max(line.total, len(states)), 'item')}", *told, *line.notes[:1]]
