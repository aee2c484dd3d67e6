"""Writes the log of decisions, and finds out what a process before this one left undone.

A decision that sends more to V2 stands in the log before the flag is written. Everything else does not wait for a store
that is away: such a decision stays in the status without a number, and is appended as soon as the store answers, marked
`late`. After a restart, or when another operator was faster, the log and the status are brought together first:

    the log has what the status lacks     it ended between the two: the row's status is taken over
    the status was lost                   the last row's is taken over: a rollback stays one
    the status has what the log lacks     appended now, late, without the inputs that nobody has any more
    the log ends before the status' head  rows were lost (an old backup): the next row says so
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING

import structlog

from orchestrator.errors import StoreError, StoreUnavailable
from orchestrator.store.evidence import Taken
from orchestrator_operator.rollout.log import catchup, chain
from orchestrator_operator.rollout.log.chain import NOWHERE
from orchestrator_operator.rollout.log.observing import Seen, due, seen
from orchestrator_operator.rollout.log.sharing import Shared, shared_values
from orchestrator_operator.rollout.model import ClearFlag, Tell
from orchestrator_operator.rollout.phases import OVER
from orchestrator_operator.rollout.steps import Step, step
from orchestrator_operator.specs.rollout_status import DecisionHead

if TYPE_CHECKING:
    from orchestrator.store.evidence import DecisionRow
    from orchestrator.store.port import Store
    from orchestrator_operator.rollout.log.chain import Draft
    from orchestrator_operator.rollout.model import Gathered, Judgement, Plan
    from orchestrator_operator.specs.rollout_status import RolloutStatus

_PAGE = 200  # rows asked for at once
_VERSION = metadata.version("orchestrator")  # the package is always installed: its entry points start us

_log = structlog.get_logger(__name__)


class Overtaken(StoreError):
    """Another operator has appended to the log: what it decided comes first. Read its status, then decide again."""


@dataclass(slots=True)
class _Log:
    """What is known of one rollout's log."""

    head: DecisionHead | None = None  # None: to be read again
    lost: DecisionHead | None = None  # a head that was published, and that the store does not have
    pending: list[Draft] = field(default_factory=list)
    shared: Shared | None = None  # of the newest row that this process wrote with inputs
    whole: tuple[chain.Content, int] | None = None  # the content of that row, and its number
    seen: Seen | None = None  # of that row


class Recorder:
    """The log of every rollout, by uid."""

    def __init__(self, store: Store, *, patience: float = 5.0) -> None:
        """`patience`: seconds after which a rollout goes on without what the log may know."""
        self._store, self._patience = store, patience
        self._logs: dict[str, _Log] = {}

    def forget(self, uid: str) -> None:
        """The resource is gone; its rows stay."""
        self._logs.pop(uid, None)

    def pending(self, uid: str) -> int:
        """How many decisions wait for the store."""
        return len(self._logs[uid].pending) if uid in self._logs else 0

    async def catch_up(self, uid: str, status: RolloutStatus) -> RolloutStatus:
        """The status with what the log knows better; the same one while the store does not answer."""
        log = self._logs.setdefault(uid, _Log())
        if log.head is not None:
            return status
        try:
            async with asyncio.timeout(self._patience):
                rows = await self._newer(uid, status.decision_head or NOWHERE)
            found = catchup.compare(status, rows)
        except Exception as error:  # noqa: BLE001 - rows that somebody spoiled must not keep us from a rollback either
            _log.warning("the log of decisions cannot be read", uid=uid, error=f"{type(error).__name__}: {error}")
            return status
        log.head, log.lost = found.head, found.lost
        log.pending = [draft for draft in log.pending if draft.identity not in found.there]
        if found.lost is not None:
            _log.error("rows of the log of decisions are gone", uid=uid, published=found.lost.number)
        if found.adopted:
            _log.warning("the log is ahead of the status, which follows it now", uid=uid, head=found.head.number)
        return found.status

    def note(self, gathered: Gathered, judgement: Judgement, planned: Plan) -> tuple[Draft, ...]:
        """What was decided is to be recorded, whatever comes between; returns what this plan has decided."""
        log = self._logs.setdefault(gathered.uid, _Log())
        waiting = {draft.identity for draft in log.pending}
        log.pending += [
            chain.remembered(decision, gathered)
            for decision in gathered.status.decisions
            if decision.number is None and chain.identity(decision) not in waiting
        ]
        try:
            drafts = chain.decided(gathered, judgement, planned, _VERSION)
        except Exception:
            if planned.status.phase not in OVER:
                raise
            _log.exception("what led to a rollback cannot be recorded", rollout=gathered.name)
            told = [action.decision for action in planned.actions if isinstance(action, Tell)]
            drafts = tuple(chain.remembered(decision, gathered) for decision in told)
        log.pending += drafts
        return drafts

    async def record(
        self, gathered: Gathered, judgement: Judgement, planned: Plan, drafts: tuple[Draft, ...], *, must: bool
    ) -> RolloutStatus:
        """Append what waits, and the evidence as it stands if that is due; the status with the numbers of the rows.

        With `must`, nothing may be left waiting: raises StoreError, and then this plan's own decisions were not made.
        Without it, they wait for the next time. Raises Overtaken in any case: nothing is to be built on an old status.
        """
        log = self._logs[gathered.uid]
        status, own = planned.status, set(map(id, drafts))
        now = seen(gathered, judgement)
        try:
            while log.pending:
                draft = log.pending[0]
                row = await self._append(log, draft, late=id(draft) not in own)
                status = catchup.numbered(status, row)
                del log.pending[0]
            if drafts:
                log.seen = now
            elif due(gathered, planned, log.seen, now):
                await self._append(log, chain.observed(gathered, judgement, planned, _VERSION))
                log.seen = now
            if must and log.head is None:
                raise StoreUnavailable("the log of decisions could not be read yet")
        except StoreError as error:
            log.head = None
            overtaken = isinstance(error, Overtaken)
            done = any(isinstance(action, ClearFlag) for action in planned.actions)  # before we came to write it down
            if (must or overtaken) and not done:
                log.pending = [draft for draft in log.pending if id(draft) not in own]
            if must or overtaken:
                raise
            if log.pending:
                _log.warning("decisions wait for the store", rollout=gathered.name, error=str(error))
        return status if log.head is None else status.model_copy(update={"decision_head": log.head})

    async def _append(self, log: _Log, draft: Draft, *, late: bool = False) -> DecisionRow:
        if log.head is None:
            raise StoreUnavailable("the log of decisions could not be read yet")
        more: chain.Content = {"late": True} if late else {}
        if log.lost is not None:
            more["lost"] = log.lost.model_dump()
        if log.whole is not None and log.whole[0] is draft.content:
            more["same"] = log.whole[1]
        row = chain.seal(draft, log.head, more, log.shared)
        with step(Step.RECORD):
            answer = await self._store.append_decision(row)
        if isinstance(answer, Taken):
            raise Overtaken(f"another operator appended row {answer.number} to the log of {row.name}: look again")
        log.head, log.lost = DecisionHead(number=row.number, hash=row.hash), None
        if "same" not in more and draft.content["inputs"] is not None:
            log.shared = Shared(row.number, shared_values(draft.content["inputs"]))
            log.whole = draft.content, row.number
        return row

    async def _newer(self, uid: str, head: DecisionHead) -> list[DecisionRow]:
        """The rows from `head` on; all there are if it is not among them."""
        rows = await read_all(self._store, uid, after=max(0, head.number - 1))
        return rows if head == NOWHERE or catchup.ends_in(rows, head) else await read_all(self._store, uid)


async def read_all(store: Store, uid: str, after: int = 0) -> list[DecisionRow]:
    """Every row of a rollout behind that number, page by page."""
    found: list[DecisionRow] = []
    while page := await store.decisions(uid, after, _PAGE):
        found += page
        after = page[-1].number
    return found
