from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from orchestrator.masks import Masks
from orchestrator.model import Engine
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.base import StepContext
from orchestrator.nodes.http import HttpNode
from tests.support.services import start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.services import Service


@pytest.fixture
def context() -> StepContext:
    return StepContext("e-1", "default/order", "default", "charge", 1, Engine.V2, timedelta(seconds=20))


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    started = await start()
    yield started
    await started.server.close()


@pytest.fixture
async def http() -> AsyncIterator[HttpNode]:
    node = HttpNode(AllowList.parse("127.0.0.0/8"))
    yield node
    await node.aclose()


@pytest.fixture
def masks() -> Masks:
    return Masks()
