"""Do what was planned. Each action may be repeated: a crash between any two is repaired by the next reconcile.

The order is the safety: the intent is in the status before the flag is touched; the flag is clear before anybody is
told. Only a rollback does not wait for the status: if the API server does not take it, the flag is cleared anyhow.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator.flag import CLEAR, FlagConflict, FlagError
from orchestrator.model import Assignment, Engine
from orchestrator.steering import every_active
from orchestrator.store.port import Control, KeptBin, Totals
from orchestrator_operator.adapters.kubernetes import KubernetesError
from orchestrator_operator.rollout import readings
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
from orchestrator_operator.rollout.phases import OVER
from orchestrator_operator.specs import GROUP, ROLLOUTS
from orchestrator_operator.specs.rollout_status import write_status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.clock import Clock
    from orchestrator.flag import FlagStore
    from orchestrator.store.port import Store
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.handlers.announce import Announcer
    from orchestrator_operator.rollout.known import Known
    from orchestrator_operator.rollout.model import Action, Plan
    from orchestrator_operator.specs.rollout_status import RolloutStatus

BASELINE = timedelta(days=7)  # how long before an attempt V1 is measured
FINALIZER = f"{GROUP}/flag"  # keeps a rollout until its flag is as its deletion policy says

_log = structlog.get_logger(__name__)


class Applier:
    """All the writing of the controller."""

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        store: Store,
        flags: Callable[[str], FlagStore],
        announcer: Announcer,
        clock: Clock,
    ) -> None:
        self._kubernetes, self._store, self._flags = kubernetes, store, flags
        self._announcer, self._clock = announcer, clock

    async def apply(self, known: Known, planned: Plan) -> bool:
        """Do it all; True if the flag was written, so that it should be looked at again at once.

        Raises what stopped it (KubernetesError, FlagError, StoreError); what was done stays done.
        """
        trouble: KubernetesError | None = None
        if planned.status.phase in OVER:
            known.status = planned.status  # from here on the router sends nothing to V2, whatever becomes of the rest
        try:
            await self._remember(known, planned.status)
        except KubernetesError as error:
            if planned.status.phase not in OVER:
                raise
            trouble = error
        for action in planned.actions:
            await self._act(known, planned.status, action)
        if trouble is not None:
            raise trouble
        return any(isinstance(action, SetFlag | ClearFlag) for action in planned.actions)

    async def guard(self, known: Known) -> None:
        """Put our finalizer on a resource that has none: its flag must not outlive it unnoticed."""
        if not known.deleting and FINALIZER not in _finalizers(known.metadata):
            await self._finalize(known, lambda now: [*now, FINALIZER])

    async def _remember(self, known: Known, status: RolloutStatus) -> None:
        if status != known.written:
            namespace, name = known.name.split("/", 1)
            patch = write_status(status)
            await self._kubernetes.patch_status(ROLLOUTS, namespace, name, patch, uid=known.uid)
        known.status = known.written = status

    async def _act(self, known: Known, status: RolloutStatus, action: Action) -> None:  # noqa: PLR0911 - one arm an action
        match action:
            case SetFlag():
                return await self._set_flag(known, action)
            case ClearFlag():
                return await self._clear_flag(known)
            case CancelInFlight():
                return await self._cancel()
            case TakeBaselines(until):
                return await self._store.take_baselines(status.attempt_id, until - BASELINE, until)
            case RememberBins():
                return await self._remember_bins(status.attempt_id, action)
            case RememberTotals(restart):
                kept = Totals(restart.index, restart.at, readings.dump(restart))
                return await self._store.save_totals(status.attempt_id, kept)
            case DropAnnotation(key):
                return await self._drop(known, key)
            case Release():
                return await self._finalize(known, lambda now: [item for item in now if item != FINALIZER])
            case Tell():
                return await self._tell(known, action)

    async def _set_flag(self, known: Known, action: SetFlag) -> None:
        try:
            await self._flags(known.secret).write(action.values.as_mapping(), action.version)
        except FlagConflict as error:  # somebody was there: look again, then decide again
            _log.info("the flag changed before it was written", rollout=known.name, error=str(error))

    async def _clear_flag(self, known: Known) -> None:
        """Without a precondition: a rollback wins over whoever else writes. Read back, and raise if keys are left."""
        flags = self._flags(known.secret)
        await flags.write(CLEAR.as_mapping(), "")
        left = (await flags.read()).values
        if not left.clear:
            raise FlagError(f"the flag of {known.name} was cleared, but is set again: {left}")

    async def _cancel(self) -> None:
        now = self._clock.now()
        async for record in every_active(self._store):
            if record.engine is Engine.V2 and record.assignment is not Assignment.EXPLICIT:
                await self._store.control(record.id, Control.CANCEL, now)

    async def _remember_bins(self, attempt: str, action: RememberBins) -> None:
        kept = [
            KeptBin(number, one.end, one.k1, one.n1, one.k2, one.n2)
            for number, one in enumerate(action.bins, action.first)
            if one.end is not None
        ]
        await self._store.save_bins(attempt, action.criterion, kept)

    async def _drop(self, known: Known, key: str) -> None:
        namespace, name = known.name.split("/", 1)
        await self._kubernetes.patch(ROLLOUTS, namespace, name, {"metadata": {"annotations": {key: None}}})

    async def _finalize(self, known: Known, change: Callable[[list[str]], list[str]]) -> None:
        """A merge patch replaces the whole list, so it must start from the list that is there: read, then written back
        with the resourceVersion. Raises Conflict when somebody was faster.
        """
        namespace, name = known.name.split("/", 1)
        meta = (await self._kubernetes.get(ROLLOUTS, namespace, name))["metadata"]
        if meta.get("uid") != known.uid or (wanted := change(_finalizers(meta))) == _finalizers(meta):
            return
        precondition = {"uid": known.uid, "resourceVersion": meta["resourceVersion"]}
        await self._kubernetes.patch(ROLLOUTS, namespace, name, {"metadata": {"finalizers": wanted, **precondition}})

    async def _tell(self, known: Known, action: Tell) -> None:
        decision = action.decision
        log = _log.warning if action.warning else _log.info
        log(
            "rollout decided",
            rollout=known.name,
            action=decision.action,
            reason=decision.reason,
            message=decision.message,
            actor=decision.actor,
        )
        post = self._announcer.warn if action.warning else self._announcer.tell
        await post(ROLLOUTS, known.metadata, decision.reason, f"{decision.action}: {decision.message}")


def _finalizers(metadata: Mapping[str, Any]) -> list[str]:
    return [str(item) for item in metadata.get("finalizers") or []]
