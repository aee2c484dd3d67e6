from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.model import Engine
from orchestrator.nodes.base import StepContext


@pytest.fixture
def context() -> StepContext:
    return StepContext("e-1", "default/order", "default", "charge", 1, Engine.V2, timedelta(seconds=20))
