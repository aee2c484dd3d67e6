"""Every section in its turn. One that fails says so inside; the others are collected all the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from orchestrator.support.bundle import Bundle, Section


async def collect(bundle: Bundle, sections: Sequence[Section], within: timedelta, tell: Callable[[str], None]) -> None:
    """Fill the bundle; a section gets as long as `within`. `tell` hears what is being done, and what failed."""
    for section in sections:
        tell(f"{section.doing} …")
        before = len(bundle.parts)
        try:
            async with asyncio.timeout(within.total_seconds()):
                await section.collect(bundle)
        except TimeoutError:
            reason = f"not finished within {within.total_seconds():g} s"
        except OrchestratorError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - what is broken is what the bundle is made for
            reason = f"{type(error).__name__}: {error}"
        else:
            if len(bundle.parts) == before:  # it may have said by itself that it was left out
                bundle.part(section.name, "complete")
            continue
        bundle.part(section.name, "incomplete", reason)
        tell(f"  {bundle.parts[-1].reason}")
