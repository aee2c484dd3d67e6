"""A workflow on the bench: the real engine, a store in memory, and time that passes as fast as it can.

    def test_an_order_that_nobody_approves_is_refunded() -> None:
        with Bench(stubs={"http": lambda with_, context: {"status": 200, "body": {}}}) as bench:
            order = bench.submit(SPEC, {"amount": 12.5})
            bench.advance(timedelta(days=2))
            assert bench.get(order).status is Status.WAITING
            bench.signal(order, "approve", {"approved": False, "approver": "eve"})
            bench.run()
            assert [effect.node for effect in bench.effects] == ["charge", "refund"]

Time stands still between two calls. While one runs, it passes only when nothing can run, and then jumps to the next
moment at which something is due: days of timers, time-outs and back-off take milliseconds, and `asyncio.sleep` in an
async function takes part in that. The bench has an event loop of its own: use it in a plain `def`; in an `async def`
go through `await asyncio.to_thread(test)`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from orchestrator import events as e
from orchestrator.authoring import check_input, compile_workflow
from orchestrator.errors import InvalidExecution, UnknownExecution
from orchestrator.functions import REGISTRY
from orchestrator.model import Assignment, Engine, Workflow
from orchestrator.signals import check_signal
from orchestrator.store.messages import Control, Delivered, Delivery, Submission
from orchestrator.testing.clock import FakeClock
from orchestrator.testing.memory import MemoryStore
from orchestrator.testing.shift import Shift
from orchestrator.testing.stubs import Effect, Stub, StubbedRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from types import TracebackType

    from orchestrator.functions import Functions
    from orchestrator.store.records import ExecutionRecord

T = TypeVar("T")

_FOR_EVER: Final = timedelta(days=36_500)


class Bench:
    """One worker over a MemoryStore and a FakeClock. `functions` are those of `python` nodes, by default the
    process's registry; `stubs` stand for nodes by their id or type (see stubs.py). `seed` draws the jitter of retries:
    the same test waits the same times.
    """

    def __init__(
        self,
        *,
        functions: Functions | Mapping[str, Callable[..., Any]] = REGISTRY,
        stubs: Mapping[str, Stub] | None = None,
        clock: FakeClock | None = None,
        seed: int = 0,
    ) -> None:
        self.clock = clock or FakeClock()
        self.store = MemoryStore(self.clock.now())
        self._runner = StubbedRunner(functions, stubs or {})
        self._shift = Shift(self.store, self._runner, self.clock, seed)
        self._numbers = itertools.count(1)

    # -- what a test says

    def workflow(self, spec: Mapping[str, Any], name: str = "workflow", namespace: str = "default") -> Workflow:
        """Check a workflow and make it the current one of its name, for children; raises InvalidWorkflow."""
        workflow = compile_workflow(spec, namespace=namespace, name=name)
        self._do(self.store.put_workflow(workflow))
        return workflow

    def submit(
        self,
        workflow: Workflow | Mapping[str, Any],
        input: Any = None,  # noqa: A002 - named as in the product
        *,
        id: str | None = None,  # noqa: A002 - named as in the product
        **fields: Any,
    ) -> str:
        """Submit an execution to V2; returns its id. `fields` are others of `Submission`.

        Raises InvalidWorkflow and InvalidExecution, as the product would.
        """
        if not isinstance(workflow, Workflow):
            workflow = self.workflow(workflow)
        value = {} if input is None else input
        check_input(workflow, value)
        values: dict[str, Any] = {"engine": Engine.V2, "assignment": Assignment.EXPLICIT} | fields
        submission = Submission(id=id or f"execution-{next(self._numbers)}", workflow=workflow, input=value, **values)
        (submitted,) = self._do(self.store.submit([submission], self.clock.now()))
        return submitted.id

    def signal(self, execution: str, name: str, payload: Any = None, *, id: str | None = None) -> Delivered:  # noqa: A002 - named as in the product
        """Send a signal; `id` tells a repetition, and is new by default.

        Raises InvalidExecution for a payload that the nodes of that name would not take, as the product does.
        """
        record = self._do(self.store.get(execution))
        if record is not None:
            workflow = self._do(self.store.workflow(record.workflow_id, record.revision))
            if problems := check_signal(workflow, name, payload):
                raise InvalidExecution(problems)
        signal = e.SignalReceived(self.clock.now(), name, payload, id or f"signal-{next(self._numbers)}")
        (delivered,) = self._do(self.store.deliver([Delivery(execution, signal)]))
        return delivered

    def cancel(self, execution: str) -> bool:
        """Ask it to cancel; False if that changes nothing."""
        return self._do(self.store.control(execution, Control.CANCEL, self.clock.now()))

    def suspend(self, execution: str) -> bool:
        """Ask it to suspend; False if that changes nothing."""
        return self._do(self.store.control(execution, Control.SUSPEND, self.clock.now()))

    def resume(self, execution: str) -> bool:
        """Ask it to go on; False if that changes nothing."""
        return self._do(self.store.control(execution, Control.RESUME, self.clock.now()))

    def crash(self) -> None:
        """The worker dies where it stands, and another takes its place; it takes over when the lease has ended."""
        self._shift.crash()

    # -- how time passes

    def settle(self) -> None:
        """Do all that can be done without time passing."""
        self.advance(timedelta(0))

    def advance(self, duration: timedelta) -> None:
        """Let that much time pass; all that becomes due meanwhile happens at its own moment."""
        self._shift.work(self.clock.now() + duration)

    def run(self, within: timedelta = _FOR_EVER) -> None:
        """Work until nothing more can happen by itself: all is over, or waits for a signal or a person.

        Raises AssertionError if that is not so within that time.
        """
        self._shift.work(self.clock.now() + within, to_the_end=False)
        if not self._do(self.store.idle(tuple(Engine))):
            raise AssertionError(f"not at rest within {within}: {self._do(self.store.active())}")

    # -- what came of it

    @property
    def effects(self) -> list[Effect]:
        """Every attempt of a step that ran, in order."""
        return self._runner.effects

    def get(self, execution: str) -> ExecutionRecord:
        """How it stands; raises UnknownExecution."""
        record = self._do(self.store.get(execution))
        if record is None:
            raise UnknownExecution(f"there is no execution {execution!r} on this bench")
        return record

    def history(self, execution: str) -> list[e.Event]:
        """All its events."""
        return [recorded.event for recorded in self._do(self.store.events(execution))]

    # -- inside

    def close(self) -> None:
        """Dismiss the worker; the store can still be read."""
        self._shift.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, asked: Coroutine[Any, Any, T]) -> T:
        """Ask the store, whose answers nobody has to wait for: the worker does nothing meanwhile."""
        try:
            asked.send(None)
        except StopIteration as answer:
            return cast("T", answer.value)
        raise RuntimeError("the store in memory never waits")


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of an execution."""

    record: ExecutionRecord
    history: Sequence[e.Event]
    effects: Sequence[Effect]


def run_workflow(
    spec: Mapping[str, Any],
    input: Any = None,  # noqa: A002 - named as in the product
    *,
    functions: Functions | Mapping[str, Callable[..., Any]] = REGISTRY,
    stubs: Mapping[str, Stub] | None = None,
    clock: FakeClock | None = None,
) -> Ran:
    """Run one execution of a workflow until it is over, or waits for a signal or a person."""
    with Bench(functions=functions, stubs=stubs, clock=clock) as bench:
        execution = bench.submit(spec, input)
        bench.run()
        return Ran(bench.get(execution), bench.history(execution), bench.effects)
