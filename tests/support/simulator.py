"""An execution and the world around it, by chance: the engine's loop without a store.

At each step it is held to its promises.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator.decide import Decision, Frontier, RunNode, decide, project
from orchestrator.fold import apply, submitted
from orchestrator.model import Execution, Failure, Join, Status, StepStatus, step_key_of
from orchestrator.nodes.mapping import concurrency, tolerated
from orchestrator.retry import decide_retry
from tests.support.engine import AT

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import datetime

    from orchestrator.model import Workflow

_OVER = 400  # rounds after which an execution that everybody helps must have ended


class Simulation:
    """One execution. `history` is what was committed; `in_flight` are attempts that a worker makes."""

    def __init__(self, workflow: Workflow, chance: random.Random, input_: Any = None) -> None:
        self.workflow, self.chance = workflow, chance
        self.now: datetime = AT
        self.in_flight: dict[str, RunNode] = {}
        self.results: list[e.Event] = []  # attempts that ended, not committed yet
        self.asked: set[str] = set()  # children that were asked to cancel
        self.frontier: Frontier | None = None
        self.refused: dict[str, tuple[str, str]] = {}
        self.wake_at: datetime | None = None
        first = e.ExecutionSubmitted(AT, workflow.id, workflow.revision, {} if input_ is None else input_)
        self.state = submitted("x", first)
        self.history: list[e.Event] = [first]
        self.outside(e.ExecutionStarted(AT))

    def outside(self, event: e.Event) -> None:
        """Something that the owner did not decide, and takes in before its next turn."""
        self.state = apply(self.state, event)
        self.history.append(event)
        if self.frontier is not None:
            self.frontier.advance(event, self.state)

    # -- the engine

    def turn(self, *, accepted: bool = True) -> None:
        """Decide, commit and start; an append that is not accepted leaves nothing but the results."""
        state, results = self.state, self.results
        if self.frontier is None:
            self.frontier = Frontier.of(
                self.workflow, state, [*self.in_flight, *(step_key_of(event) for event in results)]
            )
            self.frontier.refused = self.refused
        for event in results:
            state = apply(state, event)
            self.frontier.advance(event, state)
        decision = decide(self.workflow, state, (), self.now, frontier=self.frontier)
        if not accepted and (results or decision.events):
            self.frontier = None
            return
        self.history += [*results, *decision.events]
        self.state, self.results, self.wake_at = decision.execution, [], decision.wake_at
        self.asked.update(decision.cancels)
        self.check(decision)
        self.in_flight.update({run.key: run for run in decision.runs})

    # -- what must hold

    def check(self, decision: Decision) -> None:
        """Of a decision that is committed, and whose attempts do not run yet."""
        starting: set[str] = set()
        for run in decision.runs:
            assert run.key not in starting, f"{run.key} starts twice"
            self.check_start(decision.execution, run, starting)
            starting.add(run.key)
        self.check_frontier({*self.in_flight, *starting})
        self.check_reason(decision, {*self.in_flight, *starting})

    def check_start(self, x: Execution, run: RunNode, starting: set[str]) -> None:
        key = run.key
        assert key not in self.in_flight, f"{key} runs twice at once"
        assert not x.step(key).status.terminal, f"{key} is over, and runs again"
        assert run.attempt == x.step(key).attempts + 1
        if run.undo:
            assert x.status is Status.COMPENSATING
            return
        assert x.status is Status.RUNNING, f"{key} starts while it is {x.status}"
        assert not x.cancel_requested, f"{key} starts after a cancel"
        assert not x.suspend_requested, f"{key} starts after a suspension"
        node = self.workflow.by_id[key.partition("/")[0]]
        failing = x.failed_step is not None or x.timed_out
        assert not failing or node.join is Join.ALWAYS, f"{key} starts after a failure"
        if run.item is not None:
            assert x.step(node.id).status is StepStatus.MAPPING
            begun = [other for other in {*self.in_flight, *starting} if other.startswith(f"{node.id}/")]
            assert len(begun) < concurrency(node.with_)
            failed = sum(x.step(f"{node.id}/{item}").status is StepStatus.FAILED for item in x.step(node.id).keys)
            assert failed <= tolerated(node.with_, len(x.step(node.id).keys)), f"{key} starts in a map that gave up"
            return
        done = [x.step(need).status is StepStatus.COMPLETED for need in node.needs]
        over = [x.step(need).status.terminal or (failing and not self.may_still(x, need)) for need in node.needs]
        met = {Join.ALL: all(done), Join.ANY: any(done) or not done, Join.ALWAYS: all(over)}
        assert met[node.join], f"{key} starts before what it needs"

    def may_still(self, x: Execution, node_id: str) -> bool:
        """Whether a node may still have an effect after a failure."""
        if self.workflow.by_id[node_id].join is Join.ALWAYS:
            return True
        mine = [node_id, *(f"{node_id}/{item}" for item in x.step(node_id).keys)]
        return any(key in self.in_flight or x.step(key).child in self.children_of(x) for key in mine)

    def children_of(self, x: Execution) -> list[str]:
        """The children that have not ended."""
        waiting = (state.child for state in x.steps.values() if state.status is StepStatus.WAITING)
        return [child for child in waiting if child is not None and child not in x.children]

    def check_frontier(self, in_flight: set[str]) -> None:
        assert self.frontier is not None
        anew = Frontier.of(self.workflow, self.state, in_flight)
        if not self.state.status.terminal:
            assert self.seen(self.frontier) == self.seen(anew)
        assert project(self.workflow, self.state, self.frontier) == project(self.workflow, self.state)

    def seen(self, frontier: Frontier) -> dict[str, Any]:
        """What of a frontier counts."""
        return {
            "running": frontier.running,
            "open": frontier.open,
            "left": frontier.left,
            "ready": {*frontier.candidates, *frontier.runnable},
            "retrying": set(frontier.retrying),
            "waiting": set(frontier.waiting),
            "children": frontier.children,
            "children_over": set(frontier.children_over),
            "maps": {
                key: (sorted(cursor.pending), cursor.left, cursor.active, cursor.failed)
                for key, cursor in frontier.maps.items()
            },
            "maps_left": set(frontier.maps_left),
            "maps_due": set(frontier.maps_due),
            "upcoming": frontier.moments.upcoming(self.now),
            "head": frontier.head(self.state).id,
            "to_undo": frontier.next_to_undo(self.state) if self.state.status is Status.COMPENSATING else None,
        }

    def check_reason(self, decision: Decision, in_flight: set[str]) -> None:
        """It is over, or something is in flight, due, or expected from outside; and nobody looks again for nothing."""
        x = self.state
        assert decision.wake_at is None or decision.wake_at > self.now, "it would look again at once, for ever"
        if x.status is Status.WAITING:
            assert not in_flight
        expects = [state for state in x.steps.values() if state.status is StepStatus.WAITING]
        signals = not x.cancel_requested and any(state.signal is not None for state in expects)
        told = all(child in self.asked for child in self.children_of(x)) or not (x.cancel_requested or x.failed_step)
        always = any(node.join is Join.ALWAYS for node in self.workflow.nodes)
        assert told or always, "a child that nobody needs was not asked to cancel"
        reasons = (x.status.terminal, in_flight, decision.wake_at, self.children_of(x), signals)
        assert any(reasons) or x.status is Status.SUSPENDED, f"nothing would ever look at {x} again"

    # -- the world

    def something_happens(self) -> None:
        """One thing, by chance; then the engine's turn."""
        if self.state.status.terminal:
            return
        happenings: dict[Callable[[], None], int] = {
            lambda: self.ask(e.CancelRequested(self.now)): 3,
            lambda: self.ask(e.SuspendRequested(self.now)): 6,
            lambda: self.ask(e.ResumeRequested(self.now)): 8,
            self.send_signal: 12,
            self.end_child: 10,
            self.crash: 4,
            self.pass_time: 16,
            self.end_attempts: 40,
        }
        self.chance.choices(list(happenings), list(happenings.values()))[0]()
        if self.chance.random() < 0.1:
            self.turn(accepted=False)
            self.send_signal()  # what was recorded meanwhile
        self.turn()

    def to_the_end(self) -> None:
        """Everybody helps: what is waited for comes, and it ends."""
        for _ in range(_OVER):
            if self.state.status.terminal:
                return
            if self.state.suspend_requested:
                self.ask(e.ResumeRequested(self.now))
            elif self.in_flight:
                self.end_attempt()
            elif self.children_of(self.state):
                self.end_child()
            elif self.wake_at is not None:
                self.now = self.wake_at
            else:
                self.send_signal()
            self.turn()
        raise AssertionError(f"it does not end: {self.state}")

    def ask(self, event: e.CancelRequested | e.SuspendRequested | e.ResumeRequested) -> None:
        x = self.state
        if isinstance(event, e.CancelRequested):
            changes = not x.cancel_requested
        else:
            changes = x.suspend_requested is isinstance(event, e.ResumeRequested)
        if changes:
            self.outside(event)

    def send_signal(self) -> None:
        name = self.chance.choice(["red", "blue", "yes", "yes"])
        payload = {"approved": self.chance.random() < 0.5, "approver": "eve"} if name == "yes" else {"n": 1}
        self.outside(e.SignalReceived(self.now, name, payload, f"s{len(self.history)}"))

    def end_child(self) -> None:
        open_children = self.children_of(self.state)
        if open_children:
            child = self.chance.choice(open_children)
            status = self.chance.choice([Status.SUCCESS, Status.FAILED])
            if child in self.asked and self.chance.random() < 0.7:
                status = Status.CANCELLED
            failure = Failure("Broken", "m") if status is Status.FAILED else None
            self.outside(e.ChildEnded(self.now, child, status, None, failure))

    def crash(self) -> None:
        """The worker is gone: what was in flight, and not committed, is lost; somebody may ask something meanwhile."""
        self.in_flight.clear()
        self.results.clear()
        self.frontier = None
        if self.chance.random() < 0.3:
            self.ask(self.chance.choice([e.CancelRequested, e.SuspendRequested])(self.now))

    def pass_time(self) -> None:
        seconds = self.chance.choice([-1, 1, 1, 2, 5])  # clocks do jump
        self.now += timedelta(seconds=seconds)
        if self.wake_at is not None and self.chance.random() < 0.5:
            self.now = max(self.now, self.wake_at)

    def end_attempts(self) -> None:
        for _ in range(self.chance.randint(1, 3)):
            self.end_attempt()

    def end_attempt(self) -> None:
        if not self.in_flight:
            return
        run = self.in_flight.pop(self.chance.choice(sorted(self.in_flight)))
        roll = self.chance.random()
        if roll < 0.25 or (run.node.output is not None and roll < 0.9):
            failure = Failure(self.chance.choice(["Broken", "Other"]), "m", retryable=self.chance.random() < 0.5)
            self.results.append(self.failed(run, failure))
        elif run.node.type == "workflow":
            self.results.append(self.child_started(run))
        else:
            self.results.append(self.completed(run, {}))

    def child_started(self, run: RunNode) -> e.ChildStarted:
        child = f"{run.key}#{run.attempt}"
        return e.ChildStarted(self.now, run.node.id, "workflow", run.attempt, child, "default/child", "rev", run.item)

    def completed(self, run: RunNode, output: Any) -> e.StepCompleted:
        node = run.node
        return e.StepCompleted(self.now, node.id, node.type, run.attempt, output, self.now, 1, run.item, undo=run.undo)

    def failed(self, run: RunNode, failure: Failure) -> e.StepFailed:
        retry = decide_retry(
            run.node.retry,
            failure,
            attempt=run.attempt,
            first_started_at=self.state.step(run.key).first_started_at or self.now,
            now=self.now,
            chance=0.5,
        )
        return e.StepFailed(
            self.now, run.node.id, run.node.type, run.attempt, failure, self.now, 1, retry.at, run.item, undo=run.undo
        )
