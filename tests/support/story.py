"""A small model of a store, and every story that may happen to it: the same stories on every store.

What the model does not foresee exactly (which of several equally old executions comes first) it checks for what it must
hold, and takes from the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from orchestrator import events as e
from orchestrator.model import Concurrency, Engine, Failure, OnLimit, Status
from orchestrator.store import Append, Claim, Control, Delivered, Delivery, Filter, Outcome, Release, Store
from tests.support.stores import LEASE, START, append, completed, limited, projection, submission, workflow

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine
    from datetime import datetime

    from orchestrator.model import Workflow

IDS = [f"x{i}" for i in range(4)]
_MOSTLY_UP_TO_DATE = st.sampled_from([0, 0, 0, 0, 1])  # how many events a caller has not heard of
_ENDS = [Status.SUCCESS, Status.FAILED, Status.CANCELLED]
FLOWS: list[Workflow] = [
    workflow(name="free"),
    limited(1, OnLimit.QUEUE, name="one"),
    limited(2, OnLimit.QUEUE, name="two"),
    limited(1, OnLimit.REPLACE, name="replace"),
    limited(1, OnLimit.SKIP, name="skip"),
]


@dataclass
class Known:
    """What the model knows of one execution."""

    flow: str
    limit: Concurrency | None
    created: datetime
    due: datetime | None
    events: list[str] = field(default_factory=lambda: ["ExecutionSubmitted"])
    status: Status = Status.PENDING
    fence: int = 0
    owner: str | None = None
    last_append: str = ""
    queued: bool = False
    cancel: bool = False
    suspend: bool = False
    signals: set[str] = field(default_factory=set)

    @property
    def over(self) -> bool:
        return self.status.terminal

    @property
    def held(self) -> bool:
        """Whether it takes a slot."""
        return self.limit is not None and not self.over and not self.queued

    def record(self, event: str, at: datetime) -> None:
        """An event from outside."""
        self.events.append(event)
        if self.owner is None and (not self.queued or event == "CancelRequested"):
            self.due = at

    def end(self, status: Status) -> None:
        self.status, self.owner, self.due, self.queued = status, None, None, False


class Story(RuleBasedStateMachine):
    """Each rule is one call on the store, compared with what the model says of it."""

    store: Store  # set by the test, and empty
    runner: asyncio.Runner

    claims: Bundle[Claim] = Bundle("claims")
    appends: Bundle[Append] = Bundle("appends")

    def do(self, asked: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(asked)

    @initialize(flows=st.lists(st.sampled_from(FLOWS), min_size=1, max_size=2), count=st.integers(1, len(IDS)))
    def begin(self, flows: list[Workflow], count: int) -> None:
        self.now = START
        self.flows = flows
        self.known: dict[str, Known] = {}
        self.last: dict[str, Claim] = {}  # by execution
        self.number = 0
        self.submitted(IDS[:count], flows[0])

    def tick(self) -> datetime:
        """A moment of its own for each call: what is older is never a matter of chance."""
        self.now += timedelta(microseconds=1)
        return self.now

    # -- executions come to be

    @rule(ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=4), second=st.booleans())
    def submit(self, ids: list[str], second: bool) -> None:
        self.submitted(ids, self.flows[-1 if second else 0])

    def submitted(self, ids: list[str], flow: Workflow) -> None:
        for id_ in ids:
            at = self.tick()
            (answer,) = self.do(self.store.submit([submission(id_, workflow=flow)], at))
            assert (answer.id, answer.created) == (id_, id_ not in self.known)
            if answer.created:
                self.known[id_] = self.new(flow, at)

    def new(self, flow: Workflow, at: datetime) -> Known:
        new = Known(flow.id, flow.concurrency, at, at)
        if flow.concurrency is None or self.slots(flow.id) < flow.concurrency.limit:
            return new
        if flow.concurrency.policy is OnLimit.SKIP:
            new.end(Status.CANCELLED)
            new.events.append("ExecutionCancelled")
            return new
        new.queued, new.due = True, None
        if flow.concurrency.policy is OnLimit.REPLACE:
            standing = [x for x in self.under(flow.id) if x.held and not x.cancel]
            if standing:
                oldest = min(standing, key=lambda x: x.created)
                oldest.cancel = True
                oldest.record("CancelRequested", at)
        return new

    def under(self, flow: str) -> list[Known]:
        return [x for x in self.known.values() if x.flow == flow]

    def slots(self, flow: str) -> int:
        return sum(x.held for x in self.under(flow))

    # -- workers

    @rule(target=claims, owner=st.sampled_from(["w1", "w2"]), limit=st.integers(1, 4))
    def claim(self, owner: str, limit: int) -> Any:
        at = self.tick()
        due = {id_: x.due for id_, x in self.known.items() if x.due is not None and x.due <= at}
        claims: list[Claim] = self.do(self.store.claim(owner, Engine.V2, limit, LEASE, at))
        chosen = {claim.id for claim in claims}
        assert chosen <= set(due)
        assert len(chosen) == len(claims) == min(limit, len(due))
        assert all(due[id_] <= left for id_ in chosen for other, left in due.items() if other not in chosen)
        for claim in claims:
            x = self.known[claim.id]
            x.fence, x.owner, x.due = x.fence + 1, owner, at + LEASE
            begun = x.status is Status.PENDING
            if begun:
                x.status = Status.RUNNING
                x.events.append("ExecutionStarted")
            assert (claim.fence, claim.begun, claim.seq, claim.status) == (x.fence, begun, len(x.events), x.status)
            self.last[claim.id] = claim
        return multiple(*claims)

    @rule(claim=claims)
    def renew(self, claim: Claim) -> None:
        x, at = self.known[claim.id], self.tick()
        if x.over:
            return
        ours = self.do(self.store.renew({claim.id: claim.fence}, LEASE, at))
        assert ours == ({claim.id: len(x.events)} if x.fence == claim.fence else {})
        if ours and x.owner is not None:
            x.due = at + LEASE

    @rule(claim=claims, later=st.none() | st.integers(0, 60), behind=_MOSTLY_UP_TO_DATE)
    def release(self, claim: Claim, later: int | None, behind: int) -> None:
        x, at = self.known[claim.id], self.tick()
        due = None if later is None else at + timedelta(seconds=later)
        self.do(self.store.release({claim.id: Release(claim.fence, len(x.events) - behind, due)}, at))
        if x.fence == claim.fence and not x.over:
            x.owner, x.due = None, at if behind else due

    @rule(target=appends, claim=claims, behind=_MOSTLY_UP_TO_DATE, event=st.sampled_from(["step", "wait", *_ENDS]))
    def append(self, claim: Claim, behind: int, event: str) -> Any:
        return self.appended(claim, behind, event)

    def appended(self, claim: Claim, behind: int, event: str) -> Any:
        x = self.known[claim.id]
        at, first = self.tick(), len(x.events) + 1 - behind
        self.number += 1
        status = Status(event) if event in _ENDS else Status.RUNNING
        if x.over:
            return multiple()
        events: dict[str, e.Event] = {
            "success": e.ExecutionSucceeded(at, None),
            "failed": e.ExecutionFailed(at, Failure("HttpStatus", "503", node="a", status=503)),
            "cancelled": e.ExecutionCancelled(at),
            "wait": e.ExecutionWaiting(at),
            "step": completed("a", at=at),
        }
        new = append(
            claim,
            events[event],
            first_seq=first,
            append_id=f"append-{self.number}",
            projection=projection(status, finished_at=at if status.terminal else None),
            release=status.terminal or event == "wait",
        )
        self.check(new)
        return new

    @rule(target=appends, id_=st.sampled_from(IDS), status=st.sampled_from(_ENDS))
    def finish(self, id_: str, status: Status) -> Any:
        """The owner of an execution ends it, knowing all of it: so that stories get somewhere."""
        owned = id_ in self.known and self.known[id_].owner is not None
        return self.appended(self.last[id_], 0, status) if owned else multiple()

    @rule(again=appends)
    def append_again(self, again: Append) -> None:
        """The caller did not hear the answer, or heard it and was delayed."""
        self.check(again)

    @rule(one=consumes(appends), other=consumes(appends))
    def append_two(self, one: Append, other: Append) -> None:
        """Late duplicates in one flush."""
        if one.execution_id != other.execution_id:
            wanted = [self.foreseen(one), self.foreseen(other)]
            assert self.do(self.store.append([one, other])) == wanted
            for new, outcome in zip((one, other), wanted, strict=True):
                self.took(new, outcome)

    def check(self, new: Append) -> None:
        wanted = self.foreseen(new)
        assert self.do(self.store.append([new])) == [wanted]
        self.took(new, wanted)

    def foreseen(self, new: Append) -> Outcome:
        x = self.known[new.execution_id]
        if x.last_append == new.append_id:
            return Outcome.COMMITTED
        if x.fence != new.fence:
            return Outcome.FENCED
        return Outcome.COMMITTED if len(x.events) == new.first_seq - 1 else Outcome.STALE

    def took(self, new: Append, outcome: Outcome) -> None:
        x = self.known[new.execution_id]
        if outcome is not Outcome.COMMITTED or x.last_append == new.append_id:
            return
        x.last_append, x.status = new.append_id, new.projection.status
        x.events.append(type(new.events[0]).__name__)
        if new.release:
            x.owner, x.due = None, new.due_at
        if x.over:
            x.end(x.status)
            self.free(x, new.events[0].at)

    def free(self, ended: Known, at: datetime) -> None:
        if ended.limit is None:
            return
        waiting = sorted((x for x in self.under(ended.flow) if x.queued and not x.cancel), key=lambda x: x.created)
        for x in waiting[: max(0, ended.limit.limit - self.slots(ended.flow))]:
            x.queued, x.due = False, at

    # -- others

    @rule(id_=st.sampled_from(IDS), control=st.sampled_from(Control))
    def ask(self, id_: str, control: Control) -> None:
        at = self.tick()
        x = self.known.get(id_)
        changes = x is not None and not x.over and self.would_change(x, control)
        assert self.do(self.store.control(id_, control, at)) is changes
        if x is not None and changes:
            x.cancel = x.cancel or control is Control.CANCEL
            x.suspend = control is Control.SUSPEND or (x.suspend and control is Control.CANCEL)
            x.record(f"{control.value.title()}Requested", at)

    def would_change(self, x: Known, control: Control) -> bool:
        return {Control.CANCEL: not x.cancel, Control.SUSPEND: not x.suspend, Control.RESUME: x.suspend}[control]

    @rule(ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=3), name=st.sampled_from(["s1", "s2"]))
    def signal(self, ids: list[str], name: str) -> None:
        at = self.tick()
        wanted = []
        for id_ in ids:
            x = self.known.get(id_)
            if x is None or x.over:
                wanted.append(Delivered.UNKNOWN if x is None else Delivered.OVER)
            elif name in x.signals:
                wanted.append(Delivered.DUPLICATE)
            else:
                wanted.append(Delivered.RECORDED)
                x.signals.add(name)
                x.record("SignalReceived", at)
        deliveries = [Delivery(id_, e.SignalReceived(at, "go", None, name)) for id_ in ids]
        assert self.do(self.store.deliver(deliveries)) == wanted

    @rule(seconds=st.integers(-30, 60))
    def jump(self, seconds: int) -> None:
        """Clocks do jump, backwards too."""
        self.now += timedelta(seconds=seconds)

    @rule()
    def heal(self) -> None:
        """No wake-up is ever lost: there is nothing to mend."""
        assert self.do(self.store.heal_limits(self.tick())) == 0

    # -- what always holds

    @invariant()
    def rows_and_histories_are_as_the_model_says(self) -> None:
        if not hasattr(self, "known"):
            return
        rows = {row.id: row for row in self.do(self.store.executions(Filter()))}
        histories = self.do(self.store.histories(list(rows)))
        assert set(rows) == set(histories) == set(self.known)
        for id_, x in self.known.items():
            row = rows[id_]
            told = (row.status, row.seq, row.fence, row.owner, row.due_at, row.queued)
            assert told == (x.status, len(x.events), x.fence, x.owner, x.due, x.queued), id_
            assert (row.cancel_requested, row.suspend_requested) == (x.cancel, x.suspend)
            assert (row.finished_at is not None) is x.over
            assert [recorded.seq for recorded in histories[id_]] == list(range(1, row.seq + 1))
            assert [type(recorded.event).__name__ for recorded in histories[id_]] == x.events
        for flow in self.flows:
            if flow.concurrency is not None:
                under = [row for row in rows.values() if row.workflow_id == flow.id and row.finished_at is None]
                assert sum(not row.queued for row in under) <= flow.concurrency.limit

    def teardown(self) -> None:
        """What is due can be claimed, all of it."""
        if not hasattr(self, "known"):
            return
        at = self.now + timedelta(days=1)
        due = {id_ for id_, x in self.known.items() if x.due is not None}
        assert {claim.id for claim in self.do(self.store.claim("last", Engine.V2, 100, LEASE, at))} == due
