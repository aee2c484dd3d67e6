"""Executions: gather what is known of one, decide, apply. The engine does the work; this only hands over."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, assert_never

import structlog

from orchestrator.errors import InvalidPayload, Problem
from orchestrator.intake import Intake, Request
from orchestrator.model import Engine
from orchestrator.store.messages import Control
from orchestrator_operator.adapters.kubernetes import Conflict
from orchestrator_operator.handlers.decide import (
    Cancel,
    Decision,
    Lost,
    Nothing,
    Refuse,
    Seen,
    Steer,
    Submit,
    decide,
    settled,
)
from orchestrator_operator.handlers.lookups import Lookups
from orchestrator_operator.handlers.origin import find_origin
from orchestrator_operator.handlers.requests import Requests
from orchestrator_operator.handlers.seen import mapping, metadata, see, uid
from orchestrator_operator.specs import EXECUTIONS
from orchestrator_operator.specs.conditions import clip, condition, find, same, tell, upsert
from orchestrator_operator.specs.execution import build_status

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from orchestrator.clock import Clock
    from orchestrator.journal import GroupCommit
    from orchestrator.store.messages import Submission, Submitted
    from orchestrator.store.port import Store
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.handlers.announce import Announcer
    from orchestrator_operator.handlers.guard import Guard
    from orchestrator_operator.handlers.workflow import WorkflowHandler
    from orchestrator_operator.routing import RoutingSource

_log = structlog.get_logger(__name__)


class ExecutionHandler:
    """Level-based: every call looks at the resource as it is and does what is missing."""

    def __init__(
        self,
        *,
        store: Store,
        submissions: GroupCommit[Submission, Submitted],
        kubernetes: Kubernetes,
        workflows: WorkflowHandler,
        routing: RoutingSource,
        announcer: Announcer,
        guard: Guard,
        clock: Clock,
        epoch: datetime,
        v1_available: bool,
    ) -> None:
        self._store, self._kubernetes, self._workflows = store, kubernetes, workflows
        self._lookups = Lookups(store)
        self._intake = Intake(submissions, routing, clock, v1_available=v1_available)
        self._announcer, self._guard, self._clock, self._epoch = announcer, guard, clock, epoch
        self._requests = Requests(store, kubernetes, announcer, clock)
        self._known: set[str] = set()  # uids that the store knows
        self._refused: dict[tuple[str, str], dict[str, Seen]] = defaultdict(dict)  # by workflow
        workflows.on_change(self.look_again)

    # -- what the watch and the resync call; none of these raises
    async def handle(self, body: Mapping[str, Any]) -> None:
        """An Execution was added or changed, or is looked at again."""
        await self._look(see(body))

    async def gone(self, body: Mapping[str, Any]) -> None:
        """An Execution was deleted."""
        self._forget(see(body))
        await self.cancel(uid(body))

    async def cancel(self, execution_id: str) -> None:
        """Its resource is gone: stop it."""

        async def cancel() -> None:
            self._known.discard(execution_id)
            await self._control(execution_id, Control.CANCEL)

        async def never(why: str) -> None:
            _log.error("not cancelled", execution=execution_id, error=why)

        await self._guard.call(EXECUTIONS, execution_id, cancel, never)

    async def look_again(self, namespace: str, workflow: str) -> None:
        """A Workflow changed: executions that were refused for it may run now."""
        for seen in list(self._refused.get((namespace, workflow), {}).values()):
            await self._look(seen)

    def trust(self, known: Collection[str], unknown: Collection[str]) -> None:
        """The store was asked about these just now."""
        self._known |= set(known)
        self._known -= set(unknown)

    # -- gather, decide, apply
    async def _look(self, seen: Seen) -> None:
        await self._guard.call(
            EXECUTIONS, seen.uid, lambda: self._handle_as_it_is(seen), lambda why: self._quarantine(seen, why)
        )

    async def _handle_as_it_is(self, seen: Seen) -> None:
        try:
            await self._handle(seen)
        except Conflict:  # what we saw is older than what is there
            now = see(await self._kubernetes.get(EXECUTIONS, seen.namespace, seen.name))
            if now.uid == seen.uid:
                await self._handle(now)

    async def _handle(self, seen: Seen) -> None:
        if seen.uid in self._known and settled(seen):
            return
        record = await self._store.get(seen.uid) if await self._lookups.known(seen.uid) else None
        if record is not None:
            self._known.add(seen.uid)
        workflow = mapping(seen.spec).get("workflow") if record is None and not seen.deleting else None
        compiled = (
            await self._workflows.find(seen.namespace, workflow) if isinstance(workflow, str) and workflow else None
        )
        new = record is None and not seen.deleting and not seen.accepted
        origin = await find_origin(self._store, self._kubernetes, seen, self._clock.now()) if new else None
        await self._apply(seen, decide(seen, record, compiled, self._epoch, origin))

    async def _apply(self, seen: Seen, decision: Decision) -> None:
        match decision:
            case Nothing():
                pass
            case Cancel():
                await self._control(seen.uid, Control.CANCEL)
            case Steer():
                await self._steer(seen, decision)
            case Lost():
                await self._lose(seen, decision)
            case Refuse():
                await self._refuse(seen, decision)
            case Submit():
                await self._submit(seen, decision)
            case _:
                assert_never(decision)

    async def _steer(self, seen: Seen, decision: Steer) -> None:
        for control in decision.controls:
            await self._control(seen.uid, control)
        status: dict[str, Any] = {"handled": decision.handled} if decision.handled else {}
        if decision.rewrite and (record := await self._store.get(seen.uid)):
            status |= build_status(record)
        if status:
            seen = await self._patch(seen, status)
        if decision.requests:
            await self._requests.answer(seen)

    async def _lose(self, seen: Seen, decision: Lost) -> None:
        message = (
            f"the store does not know this execution (its phase was {decision.was}); nothing runs again: "
            "create a new Execution if it has to"
        )
        status: dict[str, Any] = {"phase": "Unknown", "reason": "StoreMissing", "message": message}
        if (find(seen.status, "Succeeded") or {}).get("status") not in ("True", "False"):  # how it ended stays told
            says = condition("Succeeded", None, "StoreMissing", message, at=self._clock.now())
            status["conditions"] = upsert(seen.status.get("conditions"), [says])
        await self._patch(seen, status)
        _log.warning("execution lost", execution=f"{seen.namespace}/{seen.name}", uid=seen.uid, was=decision.was)
        await self._announcer.tell(EXECUTIONS, metadata(seen), "StoreMissing", message, warning=True)

    async def _refuse(self, seen: Seen, decision: Refuse) -> None:
        message = tell(decision.problems)
        says = condition("Accepted", False, decision.reason, message, at=self._clock.now(), generation=seen.generation)
        if not same(find(seen.status, "Accepted"), says):
            status = {"phase": "Pending", "reason": decision.reason, "message": clip(message)}
            seen = await self._patch(seen, status | {"conditions": upsert(seen.status.get("conditions"), [says])})
            _log.warning("execution refused", execution=f"{seen.namespace}/{seen.name}", message=message)
            await self._announcer.tell(EXECUTIONS, metadata(seen), decision.reason, message, warning=True)
        workflow = mapping(seen.spec).get("workflow")
        if isinstance(workflow, str):
            self._refused[seen.namespace, workflow][seen.uid] = seen

    async def _submit(self, seen: Seen, decision: Submit) -> None:
        if seen.requests:
            seen = await self._requests.refuse(seen)
        if decision.handled:  # before the commit: an old annotation must not look new after a crash in between
            seen = await self._patch(seen, {"handled": decision.handled})
        spec = decision.spec
        request = Request(
            id=seen.uid,
            workflow=decision.workflow,
            input=spec.input,
            engine=Engine.V2 if decision.fork else None if spec.engine == "auto" else Engine(spec.engine),
            routing_key=spec.routing_key,
            idempotency_key=spec.idempotency_key,
            name=seen.name,
            suspended=decision.suspended,
            fork=decision.fork,
            trace=seen.trace,
        )
        try:
            submitted = await self._intake.accept(request)
        except InvalidPayload as error:
            await self._refuse(seen, Refuse("InvalidInput", (Problem("spec.input", str(error)),)))
            return
        if submitted.id != seen.uid:
            await self._refuse(seen, await self._duplicate(spec.idempotency_key, submitted.id))
            return
        self._forget(seen)
        self._known.add(seen.uid)
        for control in decision.controls:
            await self._control(seen.uid, control)

    async def _duplicate(self, key: str | None, winner: str) -> Refuse:
        record = await self._store.get(winner)
        name = record.name if record is not None and record.name else winner
        message = f"{key!r} is the key of the execution {name!r} already, which runs or ran in its place"
        return Refuse("DuplicateIdempotencyKey", (Problem("spec.idempotencyKey", message),))

    # -- small writes
    async def _control(self, execution_id: str, control: Control) -> None:
        # False, too, for one that was refused or never seen: there is nothing to stop.
        if await self._store.control(execution_id, control, self._clock.now()):
            _log.info("request passed on", execution=execution_id, request=control.value)

    async def _patch(self, seen: Seen, status: dict[str, Any]) -> Seen:
        """Write, if the resource is still as we saw it."""
        after = await self._kubernetes.patch_status(
            EXECUTIONS, seen.namespace, seen.name, status, resource_version=seen.version
        )
        return see(after)

    async def _quarantine(self, seen: Seen, why: str) -> None:
        problem = Problem("spec", f"the operator could not handle this execution ({why}): please report it")
        if seen.uid in self._known:  # it runs: its status belongs to the status writer
            await self._announcer.tell(EXECUTIONS, metadata(seen), "Quarantined", str(problem), warning=True)
        else:
            await self._refuse(seen, Refuse("Quarantined", (problem,)))

    def _forget(self, seen: Seen) -> None:
        workflow = mapping(seen.spec).get("workflow")
        if isinstance(workflow, str) and (waiting := self._refused.get((seen.namespace, workflow))):
            waiting.pop(seen.uid, None)
            if not waiting:
                del self._refused[seen.namespace, workflow]
