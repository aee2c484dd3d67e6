"""What of an execution can move, kept up to date event by event: a decision costs what changed, not what there is.

A frontier is a cache: the one that followed every event equals the one that is built from the execution they made (a
test holds it to that). It belongs to the one caller who decides, and is built anew when an append was not accepted.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.decide.undoing import undoable
from orchestrator.model import Execution, Join, Node, StepState, StepStatus, Workflow, step_key
from orchestrator.nodes.switch import SwitchNode, targets

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime


@dataclass(slots=True)
class MapCursor:
    """How far a map is."""

    pending: deque[int]  # the items that nothing happened to, by their place
    left: int  # items that are not over
    active: int = 0  # items that began and are not over
    failed: int = 0


@dataclass(slots=True)
class Frontier:
    """The steps that something may happen to next."""

    workflow: Workflow
    running: set[str]  # steps whose attempt is in flight
    open: int = 0  # nodes that are not over
    left: dict[str, int] = field(default_factory=dict)  # for each pending node, the needs that are not over
    candidates: OrderedDict[str, None] = field(default_factory=OrderedDict)  # pending nodes whose needs let them begin
    runnable: OrderedDict[str, None] = field(default_factory=OrderedDict)  # those of them that a worker is to run
    retrying: dict[str, None] = field(default_factory=dict)
    waiting: dict[str, None] = field(default_factory=dict)
    maps: dict[str, MapCursor] = field(default_factory=dict)
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)  # steps whose value no store keeps: kind, why
    _to_undo: list[str] | None = None
    _places: dict[str, dict[str, int]] = field(default_factory=dict)  # of maps: each item's place, by its key
    _dues: list[tuple[datetime, str]] = field(default_factory=list)  # a heap; entries that are out of date stay in it
    _heads: list[int] = field(default_factory=list)  # a heap of places: nodes that may be the current one

    @classmethod
    def of(cls, workflow: Workflow, execution: Execution, in_flight: Collection[str] = ()) -> Frontier:
        """The frontier of an execution whose steps `in_flight` are being run."""
        frontier = cls(workflow, set(in_flight))
        for node in workflow.nodes:
            state = execution.step(node.id)
            if state.status.terminal:
                continue
            frontier.open += 1
            if state.status is StepStatus.PENDING:
                frontier.left[node.id] = sum(not execution.step(need).status.terminal for need in node.needs)
                frontier._consider(node, execution)
            else:
                frontier._note(node.id, state)
                heapq.heappush(frontier._heads, workflow.position[node.id])
        for key, state in execution.steps.items():
            if not state.status.terminal and ("/" in key or ":" in key):
                frontier._note(key, state)
        for node_id in frontier.maps:
            frontier._start_map(node_id, execution)
        return frontier

    def advance(self, event: e.Event, after: Execution) -> None:
        """Take in one event; `after` is the execution that it made."""
        if not isinstance(event, e.STEP):
            return
        item, undo = getattr(event, "item", None), getattr(event, "undo", False)
        key = step_key(event.node, item, undo=undo)
        state = after.step(key)
        for group in (self.retrying, self.waiting):
            group.pop(key, None)
        self.running.discard(key)
        if item is None and not undo:
            self.candidates.pop(key, None)
            self.runnable.pop(key, None)
            self.left.pop(key, None)
        self._note(key, state)
        if item is None and not undo and not state.status.terminal:
            heapq.heappush(self._heads, self.workflow.position[key])
        if state.status is StepStatus.MAPPING:
            self._start_map(key, after)
        elif item is not None and not undo and state.status.terminal:
            cursor = self.maps.get(event.node)
            if cursor is not None:
                cursor.left -= 1
                cursor.active -= 1
                cursor.failed += state.status is StepStatus.FAILED
        elif item is None and not undo and state.status.terminal:
            self._over(event.node, after)

    def start(self, key: str, execution: Execution, node: str, item: str | None = None) -> None:
        """An attempt of this step begins; `item` is its key if it does one of a map's items."""
        self.runnable.pop(key, None)
        if item is not None and key not in self.retrying:
            cursor, place = self.maps[node], self.places(node, execution)[item]
            cursor.active += 1
            if cursor.pending[0] == place:
                cursor.pending.popleft()
            else:
                cursor.pending.remove(place)
        self.retrying.pop(key, None)
        self.running.add(key)

    def due(self, execution: Execution, now: datetime) -> list[str]:
        """The steps whose moment has come (timers, retries, signals to give up), earliest first."""
        found = []
        while self._dues and self._dues[0][0] <= now:
            entry = heapq.heappop(self._dues)
            if self._valid(entry, execution):
                found.append(entry)
        for entry in found:  # they stay due until something happens to them
            heapq.heappush(self._dues, entry)
        return [key for _, key in found]

    def next_due(self, execution: Execution) -> datetime | None:
        """The earliest moment at which something is due, if nothing else happens."""
        while self._dues and not self._valid(self._dues[0], execution):
            heapq.heappop(self._dues)
        return self._dues[0][0] if self._dues else None

    def head(self, execution: Execution) -> Node:
        """The first node that is not over and whose needs are; the last node if there is none."""
        nodes = self.workflow.nodes
        while self._heads and execution.step(nodes[self._heads[0]].id).status.terminal:
            heapq.heappop(self._heads)
        return nodes[self._heads[0]] if self._heads else nodes[-1]

    def to_undo(self, execution: Execution) -> list[str]:
        """The steps that compensation takes back, in its order; fixed once it began."""
        if self._to_undo is None:
            self._to_undo = undoable(self.workflow, execution)
        return self._to_undo

    def places(self, node_id: str, execution: Execution) -> dict[str, int]:
        """Where each of a map's items stands, by its key."""
        if node_id not in self._places:
            self._places[node_id] = {key: index for index, key in enumerate(execution.step(node_id).keys)}
        return self._places[node_id]

    def _valid(self, entry: tuple[datetime, str], execution: Execution) -> bool:
        due, key = entry
        return execution.step(key).due == due and (key in self.retrying or key in self.waiting)

    def _note(self, key: str, state: StepState) -> None:
        if state.status is StepStatus.RETRYING and key not in self.running:
            self.retrying[key] = None
        elif state.status is StepStatus.WAITING:
            self.waiting[key] = None
        elif state.status is StepStatus.MAPPING:
            self.maps[key] = MapCursor(deque(), 0)
        if state.due is not None and not state.status.terminal:
            heapq.heappush(self._dues, (state.due, key))

    def _start_map(self, node_id: str, execution: Execution) -> None:
        cursor = self.maps[node_id]
        for index, item in enumerate(execution.step(node_id).keys):
            key = step_key(node_id, item)
            state = execution.step(key)
            if state.status.terminal:
                cursor.failed += state.status is StepStatus.FAILED
                continue
            cursor.left += 1
            if state.status is StepStatus.PENDING and key not in self.running:
                cursor.pending.append(index)
            else:
                cursor.active += 1

    def _over(self, node_id: str, execution: Execution) -> None:
        self.open -= 1
        self.maps.pop(node_id, None)
        for node in self.workflow.dependents[node_id]:
            if node.id in self.left:
                self.left[node.id] -= 1
                self._consider(node, execution)

    def _consider(self, node: Node, execution: Execution) -> None:
        """Make a pending node a candidate if its needs let it begin, or be skipped."""
        if self.left[node.id] == 0:
            heapq.heappush(self._heads, self.workflow.position[node.id])
        elif node.join is not Join.ANY or not any(leads_on(self.workflow, execution, n, node) for n in node.needs):
            return
        if node.id not in self.running and node.id not in self.runnable:
            self.candidates[node.id] = None


def leads_on(workflow: Workflow, execution: Execution, need: str, node: Node) -> bool:
    """Whether a node that `node` needs is completed, and leads to it: a switch leads to the branch that it took."""
    state = execution.step(need)
    return state.status is StepStatus.COMPLETED and not passed_by(workflow, execution, need, node)


def passed_by(workflow: Workflow, execution: Execution, need: str, node: Node) -> bool:
    """Whether a node that is over is a switch that took another branch than `node`'s."""
    switch = workflow.by_id[need]
    if switch.type != SwitchNode.name:
        return False
    named = {target for _, target in targets(switch.with_)}
    output = execution.step(need).output
    return node.id in named and (not isinstance(output, dict) or node.id not in output.get("taken", ()))
