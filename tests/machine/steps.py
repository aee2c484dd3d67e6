"""Functions for worker processes of tests."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from orchestrator.functions import function


@function(name="tests:effect")
def effect(context: Any) -> int:
    """Leave one line per run of a step, durably, and take a moment over it."""
    with Path(os.environ["EFFECTS"]).open("a", encoding="utf-8") as file:
        file.write(f"{context.idempotency_key}\n")
        file.flush()
        os.fsync(file.fileno())
    time.sleep(0.05)
    return os.getpid()
