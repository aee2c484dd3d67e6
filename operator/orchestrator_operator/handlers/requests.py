"""Signals and approvals by annotations: carried out exactly once, answered, and taken off the resource.

    carry out (the store knows it by its id) ─▶ Event ─▶ status.handled.requests ─▶ annotation off

A crash anywhere in between begins again, and finds in the store what was done. The one thing that the store could not
tell is for which approval a request without a node was meant, so that is written down before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator import events as e
from orchestrator import signals, steering
from orchestrator.errors import InvalidInput, InvalidPayload
from orchestrator.store.messages import Delivered
from orchestrator_operator.handlers import answered
from orchestrator_operator.handlers.seen import metadata, see
from orchestrator_operator.specs import EXECUTIONS
from orchestrator_operator.specs.requests import KEPT, Approval, Signal, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from orchestrator.clock import Clock
    from orchestrator.steering import Known
    from orchestrator.store.port import Store
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.handlers.announce import Announcer
    from orchestrator_operator.handlers.decide import Seen
    from orchestrator_operator.specs.requests import Asked

_log = structlog.get_logger(__name__)

_BEFORE = "nothing was recorded: it stood there before the execution was accepted; send it again"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request: the Event's reason, and a sentence without the payload."""

    accepted: bool
    reason: str
    text: str


class Requests:
    """Answers what stands on a resource. Raises StoreError and KubernetesError: then it is looked at again."""

    def __init__(self, store: Store, kubernetes: Kubernetes, announcer: Announcer, clock: Clock) -> None:
        self._store, self._kubernetes, self._announcer, self._clock = store, kubernetes, announcer, clock

    async def answer(self, seen: Seen) -> None:
        """Carry out the requests of an execution that the store knows, a few at a time, and take them off."""
        entries: list[dict[str, Any]] = []
        these = seen.requests[:KEPT]  # so that each answer stands in a status; the next look takes the next ones
        for asked in these:
            if answered.is_answered(answered.find(seen.handled, asked)):
                continue  # all but the annotation is done
            seen, outcome = await self._carry_out(seen, asked)
            entries.append(await self._tell(seen, asked, outcome))
        await self._take_off(await self._remember(seen, entries), these)

    async def refuse(self, seen: Seen) -> Seen:
        """Those that stood there before an execution was accepted: a copied or restored manifest approves nothing."""
        these, outcome = seen.requests, Outcome(accepted=False, reason="RequestRefused", text=_BEFORE)
        entries = [await self._tell(seen, asked, outcome) for asked in these]
        return await self._take_off(await self._remember(seen, entries), these)

    async def _carry_out(self, seen: Seen, asked: Asked) -> tuple[Seen, Outcome]:
        try:
            request = read(asked)
            known = await steering.look_up(self._store, seen.uid)
            if isinstance(request, Signal):
                return seen, await send(self._store, known, request, asked.id, self._clock.now())
            node = request.node or (answered.find(seen.handled, asked) or {}).get("node")
            if node is None and known.record.status.terminal:
                return seen, _over(known)
            if node is None:
                node = signals.waiting_approval(known.workflow, known.execution).id
                seen = await self._remember(seen, [answered.intent(asked, node)])
            return seen, await approve(self._store, known, request, str(node), self._clock.now())
        except (InvalidInput, InvalidPayload) as error:
            return seen, Outcome(accepted=False, reason="RequestRefused", text=str(error))

    async def _tell(self, seen: Seen, asked: Asked, outcome: Outcome) -> dict[str, Any]:
        text = f"{asked.short}: {outcome.text}"
        await self._announcer.tell(EXECUTIONS, metadata(seen), outcome.reason, text, warning=not outcome.accepted)
        return answered.answer(asked, outcome.text, self._clock.now(), accepted=outcome.accepted)

    async def _remember(self, seen: Seen, entries: list[dict[str, Any]]) -> Seen:
        if not entries:
            return seen
        status = {"handled": {"requests": answered.put(seen.handled, entries)}}
        after = await self._kubernetes.patch_status(
            EXECUTIONS, seen.namespace, seen.name, status, resource_version=seen.version
        )
        for one in entries:
            _log.info("request", execution=seen.uid, request=one["request"], accepted=one.get("accepted", "soon"))
        return see(after)

    async def _take_off(self, seen: Seen, these: Sequence[Asked]) -> Seen:
        """If nothing was written since: one whose text is another one now is another request."""
        change = {"metadata": {"resourceVersion": seen.version, "annotations": {asked.key: None for asked in these}}}
        return see(await self._kubernetes.patch(EXECUTIONS, seen.namespace, seen.name, change))


async def send(store: Store, known: Known, signal: Signal, signal_id: str, now: datetime) -> Outcome:
    """Record a signal; one that was recorded by this id before is as good. Raises InvalidInput, InvalidPayload."""
    first = await _record(store, known, signal.name, signal.payload, signal_id, now)
    if first is None:
        return _over(known)
    if (first.name, first.payload) != (signal.name, signal.payload):
        text = f"the id {signal_id!r} is taken by another signal {first.name!r} of {_at(first)}: choose another id"
        return Outcome(accepted=False, reason="RequestRefused", text=text)
    return Outcome(accepted=True, reason="SignalReceived", text=f"signal {signal.name!r} is recorded")


async def approve(store: Store, known: Known, approval: Approval, node_id: str, now: datetime) -> Outcome:
    """Record a decision; of one approval only the first counts. Raises InvalidInput, InvalidPayload."""
    node = signals.approval_node(known.workflow, node_id)
    payload = signals.decision(approved=approval.approved, approver=approval.by, comment=approval.comment)
    # As `orchestrator executions approve` has it: one decision for a node, whoever asks and wherever.
    first = await _record(store, known, signals.signal_name(node), payload, f"approval:{node.id}", now)
    if first is None:
        return _over(known)
    said = _decision(first.payload)
    if first.payload != payload:
        text = f"{node.id} was decided before, at {_at(first)}: {said}"
        return Outcome(accepted=False, reason="RequestRefused", text=text)
    return Outcome(accepted=True, reason="Approved" if approval.approved else "Rejected", text=f"{node.id} {said}")


async def _record(
    store: Store, known: Known, name: str, payload: Any, signal_id: str, now: datetime
) -> e.SignalReceived | None:
    """What the store has by this id now: from this call or from one before. None: the execution is over."""
    if found := _recorded(known, signal_id):
        return found
    delivered = await steering.send_signal(store, known, name, payload, signal_id, now)
    if delivered is Delivered.RECORDED:
        return e.SignalReceived(now, name, payload, signal_id)
    # It ended meanwhile, or somebody else was first.
    return _recorded(await steering.look_up(store, known.record.id), signal_id)


def _recorded(known: Known, signal_id: str) -> e.SignalReceived | None:
    events = (one.event for one in known.history)
    return next((one for one in events if isinstance(one, e.SignalReceived) and one.id == signal_id), None)


def _over(known: Known) -> Outcome:
    text = f"nothing was recorded: the execution is over ({known.record.status})"
    return Outcome(accepted=False, reason="RequestRefused", text=text)


def _decision(payload: Mapping[str, Any]) -> str:
    word = "approved" if payload.get("approved") is True else "rejected"
    return f"{word} by {payload.get('approver')}"


def _at(event: e.SignalReceived) -> str:
    return event.at.isoformat(timespec="seconds")
