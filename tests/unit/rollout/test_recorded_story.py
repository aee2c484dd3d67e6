"""Whatever happens in whatever order: what is recorded of it leads to the same verdicts and actions again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import settings
from orchestrator_operator.rollout.judging.judge import judge
from orchestrator_operator.rollout.log import chain
from orchestrator_operator.rollout.log.chain import NOWHERE, Draft
from orchestrator_operator.rollout.log.sharing import Shared, shared_values
from orchestrator_operator.rollout.log.verify import verify
from orchestrator_operator.specs.rollout_status import DecisionHead

from tests.unit.rollout.test_any_story import AnyStory

if TYPE_CHECKING:
    from orchestrator_operator.rollout.model import Plan

    from orchestrator.store import DecisionRow


class RecordedStory(AnyStory):
    """The story of any rollout, each of whose reconciles is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[DecisionRow] = []
        self.shared: Shared | None = None
        self.planned = self.world.decide
        self.world.decide = self.decide  # type: ignore[method-assign]  # between gathering and doing

    def something_is_found(self, what: tuple[str, Any]) -> None:
        """What the tests find for themselves follows from nothing that is recorded."""

    def decide(self) -> Plan:
        gathered, planned = self.world.gathered(), self.planned()
        judgement = judge(gathered)
        drafts = chain.decided(gathered, judgement, planned, "1") or (
            chain.observed(gathered, judgement, planned, "1"),
        )
        base = len(self.rows) + 1
        for number, draft in enumerate(drafts):
            self._append(draft, base if number else None)
        return planned

    def _append(self, draft: Draft, base: int | None) -> None:
        last = self.rows[-1] if self.rows else None
        head = NOWHERE if last is None else DecisionHead(number=last.number, hash=last.hash)
        self.rows.append(chain.seal(draft, head, {} if base is None else {"same": base}, self.shared))
        if base is None:
            self.shared = Shared(self.rows[-1].number, shared_values(draft.content["inputs"]))

    def teardown(self) -> None:
        found = verify(self.rows)
        assert (found.difference, found.derived) == ("", len(self.rows))


TestRecordedStory = RecordedStory.TestCase
TestRecordedStory.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
