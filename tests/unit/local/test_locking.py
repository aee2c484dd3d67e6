from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.local.errors import Busy
from orchestrator_operator.local.locking import locked

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_holder_waits_and_is_told_when_it_takes_too_long(tmp_path: Path) -> None:
    asked: list[None] = []
    waiting = locked(tmp_path / "lock", timeout=0.01, waiting=lambda: asked.append(None))
    with locked(tmp_path / "lock", timeout=1), pytest.raises(Busy, match="lock"), waiting:
        pytest.fail("two held it")
    assert asked


def test_it_is_free_again_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "lock", timeout=0):
        raise KeyboardInterrupt
    with locked(tmp_path / "lock", timeout=0):
        pass
