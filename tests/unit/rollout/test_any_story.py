"""Whatever happens in whatever order: no illegal transition, and the promises about the flag hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from orchestrator_operator.rollout.model import ClearFlag, SetFlag, Unreadable
from orchestrator_operator.rollout.phases import IN_A_STAGE, OVER
from orchestrator_operator.rollout.situation import ABORT, APPROVE
from orchestrator_operator.specs.rollout_status import Phase

from orchestrator.flag import CLEAR, FlagValues
from tests.support.rollouts import FAILING, GOOD, PASSING, World, cells, cohorts, spec

READINGS: dict[str, Any] = {
    "nothing yet": cells(),
    "good": GOOD,
    "passing": PASSING,
    "failing": FAILING,
    "down": Unreadable("PrometheusUnreachable", "no answer"),
}


class AnyStory(RuleBasedStateMachine):
    """A rollout among people, outages and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(spec(analysis={"underpowered": "Approve"}))
        self.attempt = 1
        self.cleared_attempt = ""  # the attempt in which a person cleared the flag
        self.before = self.world.status

    def _step(self, after: timedelta) -> None:
        self.before = self.world.status
        planned = self.world.step(after)
        self.world.extra.pop("annotations", None)
        writes = [action for action in planned.actions if isinstance(action, SetFlag)]
        clears = [action for action in planned.actions if isinstance(action, ClearFlag)]
        assert not (writes and clears)
        if planned.status.phase in OVER:
            assert not writes, "a flag is set after a rollback"
        if writes:
            assert planned.status.attempt_id != self.cleared_attempt, "a person's clear was overruled"
            assert planned.status.flag_intent is not None
        if clears:
            assert planned.status.phase in OVER

    @rule(minutes=st.sampled_from([0, 1, 7, 31, 61, 200]))
    def time_goes_by(self, minutes: int) -> None:
        self._step(timedelta(minutes=minutes))

    @rule(what=st.sampled_from(sorted(READINGS)))
    def metrics_say(self, what: str) -> None:
        self.world.cohorts = cohorts(READINGS[what])
        self._step(timedelta(seconds=5))

    @rule(paused=st.booleans())
    def person_pauses(self, paused: bool) -> None:
        self.world.spec = spec(paused=paused, attempt=self.attempt)
        self._step(timedelta(seconds=1))

    @rule(key=st.sampled_from([ABORT, APPROVE]), word=st.sampled_from(["true", "one", "two"]))
    def person_annotates(self, key: str, word: str) -> None:
        self.world.extra["annotations"] = {key: word}
        self._step(timedelta(seconds=1))

    @rule()
    def person_raises_the_attempt(self) -> None:
        self.attempt += 1
        self.world.spec = spec(attempt=self.attempt)
        self._step(timedelta(seconds=1))

    @precondition(lambda self: self.world.status.phase in IN_A_STAGE | {Phase.COMPLETED})
    @rule()
    def person_clears_the_flag(self) -> None:
        self._step(timedelta(0))  # so that the flag says what we want
        if self.world.flag.values.clear or self.world.status.phase in OVER:
            return
        self.world.write(CLEAR)
        self.cleared_attempt = self.world.status.attempt_id
        self._step(timedelta(seconds=1))
        assert self.world.status.phase in OVER

    @rule(share=st.sampled_from(["50", "nonsense", None]))
    def somebody_edits_the_flag(self, share: str | None) -> None:
        self.world.write(FlagValues("true", share, None))
        self._step(timedelta(seconds=1))

    @rule(number=st.sampled_from([0, 4, None]))
    def in_flight(self, number: int | None) -> None:
        self.world.extra["in_flight"] = number
        self._step(timedelta(seconds=1))

    @rule()
    def crash_after_the_status_was_written(self) -> None:
        self.before = self.world.status
        self.world.status = self.world.decide().status

    @invariant()
    def nothing_else_than_a_conviction_or_a_person_rolls_back(self) -> None:
        if self.world.status.phase is Phase.ROLLING_BACK:
            assert self.world.status.reason in {"CriterionFailed", "Aborted", "FlagClearedByHand"}

    @invariant()
    def a_conviction_names_its_numbers(self) -> None:
        if self.world.status.phase in OVER and self.world.status.reason == "CriterionFailed":
            assert self.world.status.failed is not None
            assert self.world.status.failed.counts


TestAnyStory = AnyStory.TestCase
TestAnyStory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
