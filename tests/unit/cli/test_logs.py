"""Where log lines go."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest
import structlog
from orchestrator_operator.cli import operator

from orchestrator.cli import logs

if TYPE_CHECKING:
    from collections.abc import Callable

SET_UP = [lambda: logs.configure(verbose=True), lambda: operator.configure_logs("info", "text")]


@pytest.mark.parametrize("set_up", SET_UP, ids=["the engine's command", "the operator's"])
def test_a_logger_that_was_used_goes_on_when_standard_error_is_replaced_and_closed(
    set_up: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    set_up()
    log = structlog.get_logger().bind()  # what a module that logs in a loop keeps
    log.warning("before")
    first.close()
    monkeypatch.setattr(sys, "stderr", second)
    log.warning("after")
    assert "after" in second.getvalue()
