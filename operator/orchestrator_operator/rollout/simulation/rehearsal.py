"""One rollout in a pretend cluster: the controller's own judge and plan; flag, store and people are pretended. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestrator.flag import CLEAR, FlagSnapshot
from orchestrator_operator.rollout.judging.judge import judge
from orchestrator_operator.rollout.model import (
    ClearFlag,
    Gathered,
    RememberTotals,
    Restart,
    SetFlag,
    Tell,
    Unreadable,
)
from orchestrator_operator.rollout.phases import IN_A_STAGE
from orchestrator_operator.rollout.planning.plan import plan
from orchestrator_operator.rollout.planning.situation import APPROVE
from orchestrator_operator.specs.rollout_status import Phase, RolloutStatus, read_status, write_status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.flag import FlagValues
    from orchestrator_operator.rollout.model import CohortKey, Judgement, Plan
    from orchestrator_operator.rollout.statistics.evidence import Cells
    from orchestrator_operator.specs.rollout import RolloutSpec
    from orchestrator_operator.specs.rollout_status import Decision

_ROUNDS = 8  # reconciles of one moment: start, write, read back, clear, read back, drained; more would be a loop


@dataclass(frozen=True, slots=True)
class Look:
    """What the controller made of one moment."""

    now: datetime
    judgement: Judgement
    status: RolloutStatus
    decisions: tuple[Decision, ...]  # what it told, in this moment
    wake_at: datetime | None


class Rehearsal:
    """Holds what the cluster would: the status, the flag, the totals of the restarts.

    With `approve` a person lets every stage go on that awaits it, at once. Guardrails are left out: a spec for this
    has comparisons alone unless readings of them are handed in. The pretend flag has no expiry: between two looks here
    the controller would have renewed it many times.
    """

    def __init__(self, spec: RolloutSpec, *, approve: bool = False) -> None:
        self.spec = spec.model_copy(update={"deadman": timedelta(0)})
        self.status = RolloutStatus()
        self.flag = FlagSnapshot(CLEAR, version="0")
        self.restarts: tuple[Restart, ...] = ()
        self._approve = approve
        self._running = self.status  # as it stood when a stage last ran: what is over is judged on as of then

    @property
    def over(self) -> bool:
        """Whether nothing will move any more."""
        return self.status.phase not in IN_A_STAGE | {Phase.PENDING}

    def look(self, now: datetime, cohorts: Mapping[CohortKey, Cells | Unreadable], **more: Any) -> Look:
        """Reconcile until nothing changes. `more` are further fields of Gathered (guardrails, starts, health …)."""
        decisions: list[Decision] = []
        judgement, planned = self._reconcile(now, cohorts, more)
        for _ in range(_ROUNDS):
            before = (self.status.phase, self.status.flag_cleared_at)
            decisions += [action.decision for action in planned.actions if isinstance(action, Tell)]
            written = self._do(planned)
            if not written and (self.status.phase, self.status.flag_cleared_at) == before:
                break
            following, planned = self._reconcile(now, cohorts, more)
            # What decided is what is shown: the verdicts that follow a promotion are those of the stage after it.
            judgement = following if not judgement.criteria else judgement
        if self.over:
            self._go_on_restarting(now, cohorts)
        return Look(now, judgement, self.status, tuple(decisions), planned.wake_at)

    def fail_over(self) -> None:
        """Another process takes over: of this one's memory there is what it wrote into the status, and no more."""
        self.status = read_status(json.loads(json.dumps(write_status(self.status))))

    def _reconcile(
        self, now: datetime, cohorts: Mapping[CohortKey, Cells | Unreadable], more: Mapping[str, Any]
    ) -> tuple[Judgement, Plan]:
        gathered = self._gathered(now, cohorts, more)
        judgement = judge(gathered)
        planned = plan(gathered, judgement)
        if self.over:  # the evidence goes on being shown after the end
            judgement = judge(replace(gathered, status=self._running))
        return judgement, planned

    def _gathered(
        self, now: datetime, cohorts: Mapping[CohortKey, Cells | Unreadable], more: Mapping[str, Any]
    ) -> Gathered:
        waits = self._approve and self.status.phase is Phase.AWAITING_APPROVAL
        base = Gathered(
            now=now,
            name="simulation/rollout",
            uid="00000000-0000-4000-8000-000000000000",
            generation=1,
            spec=self.spec,
            status=self.status,
            flag=self.flag,
            annotations={APPROVE: "true"} if waits else {},
            cohorts=cohorts,
            restarts=self.restarts,
            in_flight=0,
        )
        return replace(base, **more)

    def _do(self, planned: Plan) -> bool:
        """What the plan says, done at once; whether the flag was written."""
        self.status = planned.status
        if self.status.phase in IN_A_STAGE:
            self._running = self.status
        written = False
        for action in planned.actions:
            if isinstance(action, SetFlag | ClearFlag):
                self._write(action.values if isinstance(action, SetFlag) else CLEAR)
                written = True
            elif isinstance(action, RememberTotals):
                self.restarts = (*self.restarts, action.restart)
        return written

    def _write(self, values: FlagValues) -> None:
        self.flag = FlagSnapshot(values, version=str(int(self.flag.version) + 1))

    def _go_on_restarting(self, now: datetime, cohorts: Mapping[CohortKey, Cells | Unreadable]) -> None:
        """After the end the plan keeps no totals any more; the evidence that is shown goes on by the same schedule."""
        readable = {key: cells for key, cells in cohorts.items() if not isinstance(cells, Unreadable)}
        if self.status.started_at is None or len(readable) < len(cohorts):
            return
        begun = (now - self.status.started_at) // self.spec.analysis.restart
        first = max((restart.index for restart in self.restarts), default=0) + 1
        self.restarts += tuple(Restart(index, now, readable) for index in range(first, begun + 1))
