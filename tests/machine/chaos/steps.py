"""Functions for worker processes of the tests under faults."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from orchestrator.functions import function


@function(name="chaos:held")
async def held(context: Any) -> int:
    """Say that the step runs, and let it end when the test opens the gate; tells which process it ran in."""
    _say(f"{os.getpid()} {context.idempotency_key}\n")
    while not Path(os.environ["GATE"]).exists():
        await asyncio.sleep(0.01)
    return os.getpid()


def _say(line: str) -> None:
    with Path(os.environ["BEGUN"]).open("a", encoding="utf-8") as file:
        file.write(line)
