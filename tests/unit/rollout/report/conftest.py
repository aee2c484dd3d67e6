"""One recorded rollout for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.report import rows

from tests.support.recorded_rollout import recorded

if TYPE_CHECKING:
    from orchestrator_operator.report.model import Report


@pytest.fixture(scope="session")
def story() -> Report:
    """Blind in week 1, held by a guardrail in week 2, rolled back in week 3."""
    return rows.report(recorded(), "the log of decisions of shop/v2")
