"""One execution in a test's hand: each step ends as the test says, and the engine decides in between.

Everything that a Simulation is held to, this is held to, too.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator.model import Failure, Status, StepStatus
from tests.support.simulator import Simulation
from tests.support.stores import workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.decide import Decision
    from orchestrator.model import StepState

FAST = {"retry": {"maxAttempts": 3, "initialInterval": "1s", "multiplier": 1, "jitter": "none"}}


class Driven(Simulation):
    """An execution of a workflow that has `nodes`; `fields` are others of its spec.

    `checked=False` spares the checks, which cost the square of its size.
    """

    def __init__(self, *nodes: Mapping[str, Any], input_: Any = None, checked: bool = True, **fields: Any) -> None:
        self.started: list[str] = []
        self._checked = checked
        spec = {"nodes": list(nodes), "defaults": FAST} | fields
        super().__init__(workflow(spec), random.Random(0), input_={} if input_ is None else input_)
        self.turn()

    def turn(self, *, accepted: bool = True) -> None:
        before = set(self.in_flight)
        super().turn(accepted=accepted)
        self.started += [key for key in self.in_flight if key not in before]

    def check(self, decision: Decision) -> None:
        if self._checked:
            super().check(decision)

    # -- what happens

    def complete(self, *keys: str, output: Any = None) -> None:
        """Attempts succeed, each in a turn of its own."""
        for key in keys:
            self.results.append(self.completed(self.in_flight.pop(key), output))
            self.turn()

    def fail(self, *keys: str, kind: str = "Broken", status: int | None = None, retryable: bool = False) -> None:
        """Attempts fail, each in a turn of its own."""
        for key in keys:
            failure = Failure(kind, f"{key} broke", retryable=retryable, status=status)
            self.results.append(self.failed(self.in_flight.pop(key), failure))
            self.turn()

    def begin_child(self, *keys: str) -> None:
        """Attempts of `workflow` steps submit their children."""
        for key in keys:
            self.results.append(self.child_started(self.in_flight.pop(key)))
        self.turn()

    def child_ends(self, key: str, status: Status = Status.SUCCESS, output: Any = None) -> None:
        """The child that a step waits for ends."""
        failure = Failure("Inner", "the child broke") if status is Status.FAILED else None
        self.outside(e.ChildEnded(self.now, self.step(key).child or "", status, output, failure))
        self.turn()

    def children_end(self) -> None:
        """All children succeed, heard of at once."""
        for child in self.children_of(self.state):
            self.outside(e.ChildEnded(self.now, child, Status.SUCCESS, None, None))
        self.turn()

    def signals(self, name: str, number: int) -> None:
        """So many signals of one name, heard of at once."""
        for _ in range(number):
            self.outside(e.SignalReceived(self.now, name, None, f"s{len(self.history)}"))
        self.turn()

    def signal(self, name: str, payload: Any = None) -> None:
        self.outside(e.SignalReceived(self.now, name, payload, f"s{len(self.history)}"))
        self.turn()

    def cancel(self) -> None:
        self.outside(e.CancelRequested(self.now))
        self.turn()

    def suspend(self) -> None:
        self.outside(e.SuspendRequested(self.now))
        self.turn()

    def resume(self) -> None:
        self.outside(e.ResumeRequested(self.now))
        self.turn()

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.turn()

    # -- what came of it

    @property
    def running(self) -> list[str]:
        """The steps in flight, in the order in which they started."""
        return list(self.in_flight)

    @property
    def status(self) -> Status:
        return self.state.status

    @property
    def failure(self) -> Failure:
        assert self.state.failure is not None
        return self.state.failure

    @property
    def undone(self) -> list[str]:
        """The steps whose compensation began, in that order."""
        return [key.removesuffix(":compensate") for key in self.started if key.endswith(":compensate")]

    def step(self, key: str) -> StepState:
        return self.state.step(key)

    def is_(self, status: StepStatus, *keys: str) -> bool:
        """Whether all these steps have that status."""
        return all(self.step(key).status is status for key in keys)

    def why_skipped(self, key: str) -> str:
        """The reason for which a step was skipped."""
        (reason,) = (event.reason for event in self.history if isinstance(event, e.StepSkipped) and event.node == key)
        return reason

    def kinds(self) -> list[str]:
        """The names of all events so far."""
        return [type(event).__name__ for event in self.history]
