"""Whatever happens in whatever order: no illegal transition, and the promises about the flag hold."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from orchestrator_operator.rollout.judging.judge import judge
from orchestrator_operator.rollout.model import Alarm, ClearFlag, SetFlag, Tell, Unreadable
from orchestrator_operator.rollout.phases import IN_A_STAGE, LEGAL, OVER
from orchestrator_operator.rollout.planning.onward import STICKY_LIMIT
from orchestrator_operator.rollout.planning.situation import ABORT, APPROVE, PAUSE, PROMOTE, RESUME
from orchestrator_operator.rollout.planning.windows import is_open
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout_status import Phase, Verdict

from orchestrator.errors import Problem
from orchestrator.flag import CLEAR, FlagValues, parse_instant
from tests.support.rollouts import FAILING, GOOD, PASSING, World, cells, cohorts, spec

if TYPE_CHECKING:
    from orchestrator_operator.rollout.model import Judgement, Plan

READINGS: dict[str, Any] = {
    "nothing yet": cells(),
    "good": GOOD,
    "passing": PASSING,
    "passing everywhere": tuple(
        Cell(Decimal(percent), (100 - share) * 160, (100 - share) * 840, share * 100, share * 900)
        for percent in ("1", "2.5", "5", "25", "40", "99", "100")
        for share in (round(float(percent)),)
    ),
    "failing": FAILING,
    "down": Unreadable("PrometheusUnreachable", "no answer"),
}


def ramp(*rows: tuple[str, float], **last: Any) -> list[dict[str, Any]]:
    found = [{"name": name, "percent": percent, "duration": "1h"} for name, percent in rows]
    return [*found[:-1], {**found[-1], **last}]


RAMPS = {
    "plain": ramp(("one", 5), ("two", 25), ("three", 100)),
    "with a holdback": ramp(("one", 5), ("two", 25), ("three", 100), holdback=1),
    "with approvals": [
        {**stage, "approval": stage["name"] != "two"} for stage in ramp(("one", 5), ("two", 25), ("three", 100))
    ],
    "other shares": ramp(("one", 2.5), ("two", 40), ("three", 100)),
    "stages gone and new": ramp(("zero", 1), ("uno", 5), ("three", 100)),
}
WINDOWS: dict[str, Any] = {
    "none": {},
    "weekdays": {"timeZone": "America/Sao_Paulo", "promote": ["Mon-Fri 09:00-17:00"]},  # the story begins on a Sunday
    "frozen": {"freeze": ["2026-01-01/2026-12-31"]},
}
ALARMS = {name: (Alarm(name, "…"),) for name in ("SampleRatioMismatch", "SharedDegradation", "NotCalibrated")}
FOUND: list[tuple[str, Any]] = [
    *(("alarms", value) for value in (*ALARMS.values(), (), ())),
    *(("sticky", value) for value in (0.0, 0.3)),
    *(("in_flight", value) for value in (0, 4, None)),
    *(("late_starts", value) for value in (0, 2, None)),
]
EDITS: list[dict[str, Any]] = [
    *({"paused": value} for value in (True, False)),
    *({"stages": value} for value in RAMPS.values()),
    *({"blind": {"budget": "10m", "then": value}} for value in ("Hold", "Rollback")),
    *({"analysis": {"underpowered": value}} for value in ("Approve", "Hold", "Promote")),
    *({"attempt": value} for value in (2, 3)),
]
RAISING = {"Start", "Promote", "Complete", "SetPercent"}  # the decisions by which V2 may get more


class AnyStory(RuleBasedStateMachine):
    """A rollout among people, calendars, outages and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.document: dict[str, Any] = {
            "analysis": {"underpowered": "Approve"},
            "attempt": 1,
            "stages": RAMPS["plain"],
        }
        self.world = World(spec(**self.document))
        self.allowed = Decimal(0)  # the share that the last recorded decision allows
        self.ran_out = ""  # the expiry after which it was last taken back
        self.cleared_attempt = ""  # the attempt in which a person cleared the flag
        self.rolled_back = 0  # the last attempt that was rolled back

    # -- what is promised of each step

    def _step(self, after: timedelta, *, crash: bool = False) -> None:
        world = self.world
        world.now += after
        self._an_expiry_takes_back(world.flag.values.expires)
        before = world.status
        judgement = judge(world.gathered())
        planned = world.decide() if crash else world.step()
        if crash:
            world.status = planned.status
        world.extra.pop("annotations", None)
        decisions = [action.decision for action in planned.actions if isinstance(action, Tell)]
        if planned.status.phase is not before.phase:
            assert planned.status.phase in LEGAL[before.phase]
            assert decisions, "a phase changed and nobody was told"
        self._flag_is_written_as_decided(planned, {item.action for item in decisions})
        for decision in decisions:
            if decision.action in ("Promote", "Complete"):
                self._was_let_on(planned, judgement, decision.reason)
        if planned.status.phase in IN_A_STAGE and planned.status.percent != before.percent:
            assert world.now in planned.status.share_changed_at
        if before.phase in IN_A_STAGE and Decimal(planned.status.percent) > Decimal(before.percent):
            self._nothing_held_it(planned, judgement, {item.reason for item in decisions})
        self._rollbacks_are_due(before.phase, planned, judgement)

    def _an_expiry_takes_back(self, expires: str | None) -> None:
        """Routers fell back to V1: to send anything to V2 again needs a decision of its own."""
        if expires is not None and expires != self.ran_out and parse_instant(expires) <= self.world.now:
            self.ran_out, self.allowed = expires, Decimal(0)

    def _flag_is_written_as_decided(self, planned: Plan, decided: set[str]) -> None:
        """The percent never rises without a recorded decision, and never after a rollback."""
        status = planned.status
        if status.phase in OVER | {Phase.PENDING}:
            self.allowed = Decimal(0)
        if decided & RAISING:
            self.allowed = Decimal(status.percent)
        self.allowed = min(self.allowed, Decimal(status.percent))
        writes = [action for action in planned.actions if isinstance(action, SetFlag)]
        clears = [action for action in planned.actions if isinstance(action, ClearFlag)]
        assert not (writes and clears)
        if writes:
            assert status.phase not in OVER, "a flag is set after a rollback"
            assert Decimal(writes[0].values.percent or 100) <= self.allowed, "the percent rose without a decision"
            assert status.attempt_id != self.cleared_attempt, "a person's clear was overruled"
            assert status.attempt > self.rolled_back, "a rollback was undone"
        if clears:
            assert status.phase in OVER
        if status.phase in OVER:
            self.rolled_back = status.attempt

    def _nothing_held_it(self, planned: Plan, judgement: Judgement, reasons: set[str]) -> None:
        """No rise in spite of a pause or a window; without data or in spite of an alarm only where people force it."""
        document = self.world.spec
        assert document is not None
        assert is_open(document.windows, self.world.now), "a closed window was passed"
        assert not document.paused, "a paused rollout went up"
        assert not planned.status.paused_by, "a paused rollout went up"
        if "Forced" not in reasons:
            assert not judgement.of(Verdict.BLIND), "missing data promoted"
            assert not self.world.found.get("alarms"), "an alarm was passed"

    def _was_let_on(self, planned: Plan, judgement: Judgement, reason: str) -> None:
        """The next stage, or the end: with what rule 3 asks for, or by a person."""
        self._nothing_held_it(planned, judgement, {reason})
        if reason in ("Approved", "Promoted", "Forced"):
            return
        assert self.world.found.get("sticky", 0) <= STICKY_LIMIT
        document = self.world.spec
        assert document is not None
        if planned.status.phase is not Phase.COMPLETED:
            assert not document.stages[planned.status.stage_index].approval, "nobody let it in"

    def _rollbacks_are_due(self, phase: Phase, planned: Plan, judgement: Judgement) -> None:
        """A conviction rolls back at once, whatever the calendar says; missing data only where the spec says so."""
        if phase in IN_A_STAGE and judgement.of(Verdict.FAIL, guardrails=False):
            assert planned.status.phase is Phase.ROLLING_BACK, "a rollback waited"
        if planned.status.phase is Phase.ROLLING_BACK:
            asked = {"BlindBudgetSpent"} if self.document.get("blind", {}).get("then") == "Rollback" else set()
            if phase not in OVER:
                assert planned.status.reason in {"CriterionFailed", "Aborted", "FlagClearedByHand"} | asked

    # -- what may happen

    @rule(minutes=st.sampled_from([0, 1, 7, 31, 61, 200, 1500]))
    def time_goes_by(self, minutes: int) -> None:
        self._step(timedelta(minutes=minutes))

    @rule()
    def a_good_hour_goes_by(self) -> None:
        self.world.cohorts = cohorts(READINGS["passing everywhere"])
        for _ in range(3):
            self._step(timedelta(minutes=21))

    @rule()
    def person_says_yes(self) -> None:
        """To whatever is asked; most stories would end there."""
        if self.world.status.awaits:
            self.world.extra["annotations"] = {APPROVE: self.world.status.awaits}
        self._step(timedelta(seconds=1))
        self.a_good_hour_goes_by()

    @rule(what=st.sampled_from(sorted(READINGS.keys() - {"failing"})))
    def metrics_say(self, what: str) -> None:
        self.world.cohorts = cohorts(READINGS[what])
        self._step(timedelta(seconds=5))

    @rule(what=st.sampled_from(FOUND))
    def something_is_found(self, what: tuple[str, Any]) -> None:
        name, value = what
        (self.world.found if name in ("alarms", "sticky") else self.world.extra)[name] = value
        self._step(timedelta(seconds=5))

    @rule(change=st.sampled_from(EDITS))
    def person_edits_the_spec(self, change: dict[str, Any]) -> None:
        self.document |= change
        self._document_is(self.document)

    @rule(windows=st.sampled_from(sorted(WINDOWS)))
    def the_calendar_says(self, windows: str) -> None:
        self.document["windows"] = WINDOWS[windows]
        self._document_is(self.document)

    @rule()
    def person_spoils_the_spec(self) -> None:
        self.world.spec = None
        self.world.extra["problems"] = (Problem("spec.stages", "…"),)
        self._step(timedelta(seconds=1))
        self._document_is(self.document)

    def _document_is(self, document: dict[str, Any]) -> None:
        self.world.spec = spec(**document)
        self.world.extra.pop("problems", None)
        self._step(timedelta(seconds=1))

    @rule(
        words=st.dictionaries(
            st.sampled_from([APPROVE, PAUSE, RESUME, PROMOTE]),
            st.sampled_from(["true", "one", "two", "three", "force", "force:two"]),
            min_size=1,
            max_size=2,
        ),
        crash=st.booleans(),
    )
    def person_annotates(self, words: dict[str, str], crash: bool) -> None:
        self.world.extra["annotations"] = words
        self._step(timedelta(seconds=1), crash=crash)
        self.world.extra["annotations"] = words  # a resource that is read a moment too late
        before = self.world.status.stage_index
        self._step(timedelta(seconds=1))
        if self.world.status.phase in IN_A_STAGE and not crash:
            last = self.world.status.decisions[-1]
            assert self.world.status.stage_index == before or last.reason not in ("Forced", "Promoted")

    @rule(how=st.sampled_from(["fails", "aborts", "clears"]))
    def it_ends(self, how: str) -> None:
        """One rule for all of it, so that most stories live long enough to have something to lose."""
        self._step(timedelta(0))  # so that the flag says what we want
        running = self.world.status.phase in IN_A_STAGE | {Phase.COMPLETED} and not self.world.flag.values.clear
        if how == "fails":
            self.world.cohorts = cohorts(FAILING)
        elif how == "aborts":
            self.world.extra["annotations"] = {ABORT: "true"}
        elif running:
            self.world.write(CLEAR)
            self.cleared_attempt = self.world.status.attempt_id
        self._step(timedelta(seconds=1))
        if running and how != "fails":
            assert self.world.status.phase in OVER

    @precondition(lambda self: self.world.status.phase in OVER | {Phase.PENDING})
    @rule()
    def person_starts_again(self) -> None:
        self.world.write(CLEAR)
        self.world.cohorts, self.world.found = cohorts(cells()), {}
        self.world.extra["in_flight"] = 0
        self.document |= {"attempt": self.document["attempt"] + 1, "paused": False}
        self._document_is(self.document)
        for _ in range(4):
            self._step(timedelta(hours=1))

    @precondition(lambda self: self.world.status.phase is not Phase.PENDING)
    @rule(share=st.sampled_from(["50", "nonsense", None]))
    def somebody_edits_the_flag(self, share: str | None) -> None:
        self.world.write(FlagValues("true", share, None))
        self._step(timedelta(seconds=1))

    @rule()
    def crash_after_the_status_was_written(self) -> None:
        self._step(timedelta(0), crash=True)

    @invariant()
    def a_conviction_names_its_numbers(self) -> None:
        if self.world.status.phase in OVER and self.world.status.reason == "CriterionFailed":
            assert self.world.status.failed is not None
            assert self.world.status.failed.counts

    @invariant()
    def every_stage_that_runs_has_no_more_than_its_share(self) -> None:
        status, document = self.world.status, self.world.spec
        if document is not None and status.phase in IN_A_STAGE:
            assert Decimal(status.percent) <= document.stages[status.stage_index].share


TestAnyStory = AnyStory.TestCase
TestAnyStory.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
