"""What of an execution can move, kept up to date event by event: a decision costs what changed, not what there is.

A frontier is a cache: the one that followed every event equals the one that is built from the execution they made (a
test holds it to that). It belongs to the one caller who decides, and is built anew when an append was not accepted.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from orchestrator import events as e
from orchestrator.decide.moments import Moments
from orchestrator.decide.undoing import undoable
from orchestrator.model import Execution, Join, Node, StepState, StepStatus, Workflow, step_key
from orchestrator.nodes.switch import SwitchNode, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

OUTPUT: Final = ""  # stands for the execution's own output among the steps whose value was refused


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
    children: dict[str, str] = field(default_factory=dict)  # executions that have not ended: who waits for each
    children_over: dict[str, None] = field(default_factory=dict)  # steps whose child has ended
    maps: dict[str, MapCursor] = field(default_factory=dict)
    maps_left: dict[str, None] = field(default_factory=dict)  # those with items that nothing happened to
    maps_due: dict[str, None] = field(default_factory=dict)  # those that have no item left, or one that failed
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)  # steps whose value no store keeps: kind, why
    moments: Moments = field(default_factory=Moments)
    _listeners: dict[str, list[tuple[datetime, int]]] = field(default_factory=dict)  # heaps of places, by signal
    _to_undo: list[str] | None = None  # a stack
    _places: dict[str, dict[str, int]] = field(default_factory=dict)  # of maps: each item's place, by its key
    _ways: dict[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)  # of switches: named, taken
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
                frontier._consider(node, execution, node.needs)
            else:
                frontier._note(node.id, state, execution)
                heapq.heappush(frontier._heads, workflow.position[node.id])
        for key, state in execution.steps.items():
            if not state.status.terminal and ("/" in key or ":" in key) and not _given_up(key, execution):
                frontier._note(key, state, execution)
        for node_id in frontier.maps:
            frontier._start_map(node_id, execution)
        return frontier

    def advance(self, event: e.Event, after: Execution) -> None:
        """Take in one event; `after` is the execution that it made."""
        if isinstance(event, e.ChildEnded):
            key = self.children.pop(event.child, None)
            if key is not None:
                self.children_over[key] = None
        if not isinstance(event, e.STEP):
            return
        item, undo = getattr(event, "item", None), getattr(event, "undo", False)
        key = step_key(event.node, item, undo=undo)
        state = after.step(key)
        self._forget(key)
        self.running.discard(key)
        self._note(key, state, after)
        if undo:
            return
        if item is not None:
            self._item(event.node, state)
            return
        self.candidates.pop(key, None)
        self.runnable.pop(key, None)
        self.left.pop(key, None)
        if state.status.terminal:
            self._over(key, after)
            return
        heapq.heappush(self._heads, self.workflow.position[key])
        if state.status is StepStatus.MAPPING:
            self._start_map(key, after)

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
            if not cursor.pending:
                del self.maps_left[node]
        self._forget(key)
        self.running.add(key)

    def head(self, execution: Execution) -> Node:
        """The first node that is not over and whose needs are; the last node if there is none."""
        nodes = self.workflow.nodes
        while self._heads and execution.step(nodes[self._heads[0]].id).status.terminal:
            heapq.heappop(self._heads)
        return nodes[self._heads[0]] if self._heads else nodes[-1]

    def next_to_undo(self, execution: Execution) -> str | None:
        """The step that compensation takes back next, also while that is being done; None when all are.

        Their order is fixed once compensation began.
        """
        if self._to_undo is None:
            self._to_undo = undoable(self.workflow, execution)[::-1]
        while self._to_undo and execution.step(f"{self._to_undo[-1]}:compensate").status.terminal:
            self._to_undo.pop()
        return self._to_undo[-1] if self._to_undo else None

    def places(self, node_id: str, execution: Execution) -> dict[str, int]:
        """Where each of a map's items stands, by its key."""
        if node_id not in self._places:
            self._places[node_id] = {key: index for index, key in enumerate(execution.step(node_id).keys)}
        return self._places[node_id]

    def listener(self, signal: str, may_move: Callable[[str], bool]) -> str | None:
        """The node that has waited longest for a signal of this name, among those that may move."""
        heap, nodes = self._listeners.get(signal, []), self.workflow.nodes
        while heap and nodes[heap[0][1]].id not in self.waiting:
            heapq.heappop(heap)
        if not heap or may_move(nodes[heap[0][1]].id):
            return nodes[heap[0][1]].id if heap else None
        others = (nodes[place].id for _, place in sorted(heap))
        return next((key for key in others if key in self.waiting and may_move(key)), None)

    def leads_on(self, execution: Execution, need: str, node: Node) -> bool:
        """Whether a node that `node` needs is completed, and leads to it: a switch leads to the branch it took."""
        return execution.step(need).status is StepStatus.COMPLETED and not self.passed_by(execution, need, node)

    def passed_by(self, execution: Execution, need: str, node: Node) -> bool:
        """Whether a node that is over is a switch that took another branch than `node`'s."""
        switch = self.workflow.by_id[need]
        if switch.type != SwitchNode.name:
            return False
        if need not in self._ways:
            output = execution.step(need).output
            taken = output.get("taken", ()) if isinstance(output, dict) else ()
            self._ways[need] = (frozenset(target for _, target in targets(switch.with_)), frozenset(taken))
        named, taken = self._ways[need]
        return node.id in named and node.id not in taken

    def _forget(self, key: str) -> None:
        """Something happened to a step: what was known of it does not count any more."""
        self.retrying.pop(key, None)
        self.waiting.pop(key, None)
        self.children_over.pop(key, None)
        self.moments.forget(key)

    def _note(self, key: str, state: StepState, execution: Execution) -> None:
        if state.status is StepStatus.RETRYING and key not in self.running:
            self.retrying[key] = None
            if state.due is not None:
                self.moments.retry(state.due, key)
        elif state.status is StepStatus.WAITING:
            self.waiting[key] = None
            if state.due is not None:
                self.moments.wait(state.due, key)
            if state.signal is not None and state.first_started_at is not None:
                heap = self._listeners.setdefault(state.signal, [])
                heapq.heappush(heap, (state.first_started_at, self.workflow.position[key]))
            if state.child is not None and state.child in execution.children:
                self.children_over[key] = None
            elif state.child is not None:
                self.children[state.child] = key
        elif state.status is StepStatus.MAPPING:
            self.maps[key] = MapCursor(deque(), 0)

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
        if cursor.pending:
            self.maps_left[node_id] = None
        if not cursor.left or cursor.failed:
            self.maps_due[node_id] = None

    def _item(self, node_id: str, state: StepState) -> None:
        cursor = self.maps.get(node_id)
        if cursor is None or not state.status.terminal:
            return
        cursor.left -= 1
        cursor.active -= 1
        cursor.failed += state.status is StepStatus.FAILED
        if not cursor.left or cursor.failed:
            self.maps_due[node_id] = None

    def _over(self, node_id: str, execution: Execution) -> None:
        self.open -= 1
        if self.maps.pop(node_id, None) is not None:
            self.maps_due.pop(node_id, None)
            self.maps_left.pop(node_id, None)
            for key in [key for key in self.retrying if key.startswith(f"{node_id}/") and ":" not in key]:
                self._forget(key)  # the map gave up, and its items with it
        for node in self.workflow.dependents[node_id]:
            if node.id in self.left:
                self.left[node.id] -= 1
                self._consider(node, execution, (node_id,))

    def _consider(self, node: Node, execution: Execution, over: Collection[str]) -> None:
        """Make a pending node a candidate if its needs let it begin, or be skipped; `over` are those to look at."""
        if self.left[node.id] == 0:
            heapq.heappush(self._heads, self.workflow.position[node.id])
        elif node.join is not Join.ANY or not any(self.leads_on(execution, need, node) for need in over):
            return
        if node.id not in self.running and node.id not in self.runnable:
            self.candidates[node.id] = None


def _given_up(key: str, execution: Execution) -> bool:
    """Whether a step is an item of a map that is over without it."""
    node, slash, item = key.partition("/")
    return bool(slash) and ":" not in item and execution.step(node).status.terminal
