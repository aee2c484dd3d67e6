"""Do what was planned. Each action may be repeated: a crash between any two is repaired by the next reconcile.

The order is the safety: a decision is in the log and the intent in the status before the flag is touched; the flag is
clear before anybody is told. Only a rollback waits for neither: if the API server does not take the status, or the
store the row, the flag is cleared anyhow, and both are written later.

Everything that is written is a step with a name (steps.py): tests cut a reconcile short at each of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from orchestrator.flag import CLEAR, FlagConflict, FlagError
from orchestrator.model import Assignment, Engine
from orchestrator.steering import every_active
from orchestrator.store.messages import Control
from orchestrator_operator.adapters.kubernetes import KubernetesError
from orchestrator_operator.rollout import steps
from orchestrator_operator.rollout.acting import keeping, marks
from orchestrator_operator.rollout.acting.letters import due
from orchestrator_operator.rollout.acting.raising import raises
from orchestrator_operator.rollout.log.chain import HEAD_HASH, HEAD_NUMBER, identity
from orchestrator_operator.rollout.model import (
    CancelInFlight,
    ClearFlag,
    DropAnnotation,
    Release,
    RememberBins,
    RememberTotals,
    SetFlag,
    TakeBaselines,
    Tell,
)
from orchestrator_operator.rollout.ownership import attempt_id
from orchestrator_operator.rollout.phases import OVER
from orchestrator_operator.rollout.steps import Step, step
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.conditions import MESSAGE_LIMIT, clip
from orchestrator_operator.specs.rollout_status import write_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.clock import Clock
    from orchestrator.flag import FlagStore
    from orchestrator.store.port import Store
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.handlers.announce import Announcer
    from orchestrator_operator.rollout.acting.letters import Letter
    from orchestrator_operator.rollout.acting.notify import Notifier
    from orchestrator_operator.rollout.known import Known
    from orchestrator_operator.rollout.log.recorder import Recorder
    from orchestrator_operator.rollout.model import Action, Gathered, Judgement, Plan
    from orchestrator_operator.specs.rollout_status import FlagIntent, RolloutStatus

_MESSAGE = MESSAGE_LIMIT - 100  # bytes: so that what stands around it is not cut off

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Untold:
    """What was decided, and nobody was told of yet."""

    events: list[Tell] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)  # the status says already that they are out


class Applier:
    """All the writing of the controller."""

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        store: Store,
        flags: Callable[[str], FlagStore],
        announcer: Announcer,
        recorder: Recorder,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        self._kubernetes, self._store, self._flags = kubernetes, store, flags
        self._announcer, self._recorder, self._notifier = announcer, recorder, notifier
        self._clock = clock
        self._untold: defaultdict[str, _Untold] = defaultdict(_Untold)  # by uid

    async def apply(self, known: Known, gathered: Gathered, judgement: Judgement, planned: Plan) -> bool:
        """Do it all; True if the flag was written, so that it should be looked at again at once.

        Raises what stopped it (KubernetesError, FlagError, StoreError); what was done stays done.
        """
        drafts = self._recorder.note(gathered, judgement, planned)
        over = planned.status.phase in OVER
        clearing = [action for action in planned.actions if isinstance(action, ClearFlag)]
        if over:
            known.status = planned.status  # from here on the router sends nothing to V2, whatever becomes of the rest
        if clearing:
            self._to_tell(known, planned)
            await self._try_to_remember(known, planned.status)
            await self._act(known, planned.status, clearing[0])
        must = any(raises(gathered.flag, action, gathered.now) for action in planned.actions)
        known.status = await self._recorder.record(gathered, judgement, planned, drafts, must=must)
        if not clearing:
            self._to_tell(known, planned)
        trouble = await self._try_to_remember(known, known.status)
        if trouble is not None and not over:
            raise trouble
        for action in planned.actions:
            if isinstance(action, SetFlag):
                await self._set_flag(known, action, gathered.status.flag_intent)
            elif isinstance(action, DropAnnotation):
                with step(Step.DROP_ANNOTATION):
                    await marks.take_off(self._kubernetes, known, action.key, gathered.annotations[action.key])
            elif not isinstance(action, ClearFlag | Tell):
                await self._act(known, known.status, action)
        await self._tell(known)
        if trouble is not None:
            raise trouble
        return any(isinstance(action, SetFlag | ClearFlag) for action in planned.actions)

    async def guard(self, known: Known) -> None:
        """Put our finalizer on a resource that has none: its flag must not outlive it unnoticed."""
        if not known.deleting and not marks.held(known.metadata):
            with step(Step.GUARD):
                await marks.hold(self._kubernetes, known)

    def forget(self, uid: str) -> None:
        """The resource is gone."""
        self._untold.pop(uid, None)

    async def _try_to_remember(self, known: Known, status: RolloutStatus) -> KubernetesError | None:
        """What kept the status from being written, if anything did: a rollback goes on all the same."""
        try:
            await self._remember(known, status)
        except KubernetesError as error:
            return error
        return None

    async def _remember(self, known: Known, status: RolloutStatus) -> None:
        letters = due(known.name, status, known.written)
        if status != known.written:
            namespace, name = known.name.split("/", 1)
            patch = write_status(status)
            with step(Step.REMEMBER):
                await self._kubernetes.patch_status(ROLLOUTS, namespace, name, patch, uid=known.uid)
        known.status = known.written = status
        self._untold[known.uid].letters += letters

    async def _act(self, known: Known, status: RolloutStatus, action: Action) -> None:
        with step(steps.OF[type(action)]):
            match action:
                case SetFlag():
                    await self._flags(known.secret).write(action.values.as_mapping(), action.version)
                case ClearFlag():
                    await self._flags(known.secret).write(CLEAR.as_mapping(), "")  # whoever else writes: this wins
                case CancelInFlight():
                    await self._cancel()
                case TakeBaselines() | RememberBins() | RememberTotals():
                    await keeping.keep(self._store, status.attempt_id, action)
                case Release():
                    await keeping.drop(self._store, known.name, attempt_id(known.uid, None))
                    await marks.let_go(self._kubernetes, known)
                case Tell():
                    await self._post(known, status, action)
        if isinstance(action, ClearFlag):
            await self._read_back(known)

    async def _set_flag(self, known: Known, action: SetFlag, before: FlagIntent | None) -> None:
        """If somebody was faster: look again, then decide again. What was intended was not written then, and is not
        remembered as if it had been: a flag that is off by then was not turned off by them.
        """
        try:
            await self._act(known, known.status, action)
        except FlagConflict as error:
            _log.info("the flag changed before it was written", rollout=known.name, error=str(error))
            await self._remember(known, known.status.model_copy(update={"flag_intent": before}))

    async def _read_back(self, known: Known) -> None:
        """Raises FlagError if keys are left, or came back in between."""
        with step(Step.READ_BACK):
            left = (await self._flags(known.secret).read()).values
        if not left.clear:
            raise FlagError(f"the flag of {known.name} was cleared, but is set again: {left}")

    async def _cancel(self) -> None:
        now = self._clock.now()
        async for record in every_active(self._store):
            if record.engine is Engine.V2 and record.assignment is not Assignment.EXPLICIT:
                await self._store.control(record.id, Control.CANCEL, now)

    def _to_tell(self, known: Known, planned: Plan) -> None:
        """The decisions stand now: they will be told, even if this reconcile does not come to its end."""
        self._untold[known.uid].events += (item for item in planned.actions if isinstance(item, Tell))

    async def _tell(self, known: Known) -> None:
        untold = self._untold[known.uid]
        if known.spec is not None and known.spec.notify is not None:
            self._notifier.post(known.spec.notify.webhook, untold.letters)
        untold.letters.clear()
        while untold.events:
            await self._act(known, known.status, untold.events[0])
            del untold.events[0]

    async def _post(self, known: Known, status: RolloutStatus, action: Tell) -> None:
        decision = action.decision
        number = next((d.number for d in status.decisions if identity(d) == identity(decision)), None)
        log = _log.warning if action.warning else _log.info
        log(
            "rollout decided",
            rollout=known.name,
            number=number,
            action=decision.action,
            reason=decision.reason,
            message=decision.message,
            actor=decision.actor,
        )
        if decision.repeated:
            return
        head = status.decision_head if number is not None else None
        place = f"decision {number}" if number is not None else "not in the log yet: the store does not answer"
        annotations = {} if head is None else {HEAD_NUMBER: str(head.number), HEAD_HASH: head.hash}
        message = f"{decision.action}: {clip(decision.message, _MESSAGE)} [{place}]"
        await self._announcer.tell(
            ROLLOUTS, known.metadata, decision.reason, message, warning=action.warning, annotations=annotations
        )
