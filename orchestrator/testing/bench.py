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

import asyncio
import contextlib
import itertools
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from orchestrator import events as e
from orchestrator.authoring import check_input, compile_workflow
from orchestrator.errors import OrchestratorError, UnknownExecution
from orchestrator.functions import REGISTRY
from orchestrator.model import Assignment, Engine, Workflow
from orchestrator.store.port import Control, Delivered, Delivery, Submission
from orchestrator.testing.clock import FakeClock
from orchestrator.testing.memory import MemoryStore
from orchestrator.testing.stubs import Effect, Stub, StubbedRunner
from orchestrator.testing.virtual import VirtualLoop
from orchestrator.testing.wire import Wire
from orchestrator.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from orchestrator.functions import Functions
    from orchestrator.store.port import ExecutionRecord

T = TypeVar("T")

_FOR_EVER: Final = timedelta(days=36_500)
_SETTINGS: Final = WorkerSettings(
    concurrency=100_000, poll=timedelta(days=1), batch=timedelta(0), drain=timedelta(0), lease=timedelta(seconds=15)
)


class Bench:
    """One worker over a MemoryStore and a FakeClock. `functions` are those of `python` nodes, by default the
    process's registry; `stubs` stand for nodes by their id or type (see stubs.py).
    """

    def __init__(
        self,
        *,
        functions: Functions | Mapping[str, Callable[..., Any]] = REGISTRY,
        stubs: Mapping[str, Stub] | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        _check_no_loop_runs()
        self.clock = clock or FakeClock()
        self.store = MemoryStore(self.clock.now())
        self._runner = StubbedRunner(functions, stubs or {})
        self._loop = VirtualLoop(self._idle)
        self._runs = asyncio.Runner(loop_factory=lambda: self._loop)
        self._resting: asyncio.Future[None] | None = None
        self._horizon = self.clock.now()
        self._to_the_end = True
        self._hinted = 0  # how many commits there were when the worker was told to look
        self._numbers = itertools.count(1)
        self._hire()

    # -- what a test says

    def workflow(self, spec: Mapping[str, Any], name: str = "workflow", namespace: str = "default") -> Workflow:
        """Check a workflow and make it the current one of its name, for children; raises InvalidWorkflow."""
        workflow = compile_workflow(spec, namespace=namespace, name=name)
        self._do(self.store.put_workflow(workflow))
        return workflow

    def submit(
        self,
        workflow: Workflow | Mapping[str, Any],
        input: Any = None,
        *,
        id: str | None = None,
        **fields: Any,  # noqa: A002 - named as in the product
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
        """Send a signal; `id` tells a repetition, and is new by default."""
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
        self._dismiss()
        self._hire()

    # -- how time passes

    def settle(self) -> None:
        """Do all that can be done without time passing."""
        self.advance(timedelta(0))

    def advance(self, duration: timedelta) -> None:
        """Let that much time pass; all that becomes due meanwhile happens at its own moment."""
        self._work(self.clock.now() + duration)

    def run(self, within: timedelta = _FOR_EVER) -> None:
        """Work until nothing more can happen by itself: all is over, or waits for a signal or a person.

        Raises AssertionError if that is not so within that time.
        """
        self._work(self.clock.now() + within, to_the_end=False)
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
        self._dismiss()
        self._do(self._runner.aclose())
        self._runs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hire(self) -> None:
        self._wire = Wire(self.store)
        self._worker = Worker(self._wire.store, self._runner, self.clock, _SETTINGS)

        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(self._worker.run(asyncio.Event()), name="bench-worker")

        self._working = self._runs.run(begin())

    def _dismiss(self) -> None:
        async def end() -> None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

        self._wire.cut()
        self._runs.run(end())

    def _do(self, asked: Coroutine[Any, Any, T]) -> T:
        """Ask the store, whose answers nobody has to wait for: the worker does nothing meanwhile."""
        try:
            asked.send(None)
        except StopIteration as answer:
            return cast("T", answer.value)
        raise RuntimeError("the store in memory never waits")

    def _work(self, horizon: datetime, *, to_the_end: bool = True) -> None:
        self._horizon, self._to_the_end = horizon, to_the_end
        self._runs.run(self._until_rest())

    async def _until_rest(self) -> None:
        self._resting = asyncio.get_running_loop().create_future()
        self._hint()
        await asyncio.wait([self._resting, self._working], return_when=asyncio.FIRST_COMPLETED)
        if self._working.done():
            self._working.result()
            raise RuntimeError("the worker stopped by itself")
        self._resting = None

    def _hint(self) -> None:
        self._hinted = self.store.commits
        self._worker.hint()

    def _idle(self, next_timer: int | None) -> None:
        """Nothing can run: let time pass to the next moment that matters, or let the test go on."""
        now = self.clock.now()
        timer = None if next_timer is None else now + timedelta(microseconds=next_timer)
        if self._resting is None:  # the worker is being dismissed
            self._pass_until(timer or now)
            return
        due = timer if self._worker.busy else self.store.next_due()
        if due is not None and due <= now and self._hinted == self.store.commits:
            due = timer  # it was told so, and did not claim it: it may have a reason
        if due is None or due > self._horizon:
            if self._to_the_end:
                self._pass_until(self._horizon)
            self._resting.set_result(None)
            return
        self._pass_until(due)
        self._hint()

    def _pass_until(self, moment: datetime) -> None:
        passing = max(timedelta(0), moment - self.clock.now())
        self._loop.skip(passing // timedelta(microseconds=1))
        self.clock.advance(passing.total_seconds())


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


def _check_no_loop_runs() -> None:
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise OrchestratorError(
            "a bench has an event loop of its own, and cannot be used inside another: write the test as a plain `def`, "
            "or call it by `await asyncio.to_thread(…)`"
        )
