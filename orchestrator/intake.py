"""How an execution comes in, whichever way: routed once, submitted, and told in the words that queries look for.

Both the resource `Execution` and the HTTP door go through here, so that they cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from orchestrator.model import Assignment, Engine
from orchestrator.router import route
from orchestrator.store.messages import Submission
from orchestrator.telemetry import DECISIONS

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.clock import Clock
    from orchestrator.flag import FlagState
    from orchestrator.forks import Fork
    from orchestrator.journal import GroupCommit
    from orchestrator.model import Trace, Workflow
    from orchestrator.router import Owner, Routing
    from orchestrator.store.messages import Submitted
    from orchestrator.store.records import ExecutionRecord

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RoutingFacts:
    """The flag as it was last read, parsed at `now`, and the rollout that judges, if there is one."""

    flag: FlagState
    owner: Owner | None = None
    attempt: str = ""  # the rollout's attempt id; "" while none judges: then nothing is counted
    ages: tuple[float, ...] = ()  # seconds after submission at which it reads each execution, ascending


class RoutingSource(Protocol):
    """Where the facts come from: a cache, so that routing waits for nobody."""

    def facts(self, now: datetime) -> RoutingFacts: ...


@dataclass(frozen=True, slots=True)
class Request:
    """An execution that is asked for, already checked. `engine` is the one that it names, None for `auto`."""

    id: str
    workflow: Workflow
    input: Any
    engine: Engine | None = None
    routing_key: str | None = None
    idempotency_key: str | None = None
    name: str = ""  # of its resource; "" if it has none
    suspended: str | None = None  # a reason: it waits for a person
    fork: Fork | None = None  # it goes on from another one
    trace: Trace | None = None

    @property
    def label(self) -> str:
        """How log lines call it: namespace and name, or its id where it has no name."""
        return f"{self.workflow.id.partition('/')[0]}/{self.name or self.id}"


class Intake:
    """Routes and submits. Many requests share a commit."""

    def __init__(
        self,
        submissions: GroupCommit[Submission, Submitted],
        routing: RoutingSource,
        clock: Clock,
        *,
        v1_available: bool,
    ) -> None:
        self._submissions, self._routing, self._clock = submissions, routing, clock
        self._v1_available = v1_available

    def same_engine(self, record: ExecutionRecord, asked: Engine | None) -> bool:
        """Whether a request for this engine, None for `auto`, may have made this execution.

        Where there is no V1, who asks for it by name gets V2 as everybody does; so a retry is the same request.
        """
        if record.assignment is not Assignment.EXPLICIT or asked is None:
            return asked is None and record.assignment is not Assignment.EXPLICIT
        return record.engine is asked or (record.engine is Engine.V2 and not self._v1_available)

    async def accept(self, request: Request) -> Submitted:
        """Durable when it returns; the execution that now stands for the request, perhaps an earlier one.

        Raises InvalidPayload for an input that no store can keep, StoreUnavailable when nothing is known.
        """
        facts = self._routing.facts(self._clock.now())
        routing = route(
            facts.flag,
            uid=request.id,
            routing_key=request.routing_key,
            engine=request.engine,
            owner=facts.owner,
            v1_available=self._v1_available,
        )
        submitted = await self._submissions.put(submission(request, routing, facts))
        if submitted.created and submitted.id == request.id:
            DECISIONS.labels(routing.engine.value, routing.reason).inc()
            _log.info(
                routing.announcement,
                execution=request.label,
                uid=request.id,
                workflow=request.workflow.id,
                reason=str(routing.reason),
                percent=routing.percent,
            )
        return submitted


def submission(request: Request, routing: Routing, facts: RoutingFacts) -> Submission:
    """What the store is told: with the probability that the coin had, and the attempt that it counts for."""
    fork = request.fork
    return Submission(
        id=request.id,
        workflow=fork.workflow if fork else request.workflow,
        engine=routing.engine,
        assignment=routing.assignment,
        input=fork.input if fork else request.input,
        lineage=fork.lineage if fork else None,
        carried=fork.carried if fork else (),
        signals=fork.signals if fork else (),
        percent=routing.percent,
        attempt=facts.attempt,
        ages=facts.ages,
        name=request.name,
        routing_key=request.routing_key,
        idempotency_key=request.idempotency_key,
        suspended=request.suspended,
        trace=request.trace,
        log_line=(
            f"{routing.announcement} execution={request.label} uid={request.id} "
            f"workflow={request.workflow.id} reason={routing.reason} percent={routing.percent}"
        ),
    )
