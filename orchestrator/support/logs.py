"""The end of log files that a person names: whatever runs the processes keeps their logs, not we."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import OrchestratorError
from orchestrator.support.bundle import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.support.bundle import Bundle

_LAST: Final = 2_000_000  # bytes from the end
_STDIN: Final = "-"


def log_section(files: Sequence[str]) -> Section:
    """The last two megabytes of each file; `-` is standard input. Each line is searched for secrets."""

    async def collect(bundle: Bundle) -> None:
        if not files:
            how = "kubectl logs deployment/orchestrator-operator | orchestrator support-bundle --log -"
            bundle.part("logs", "left out", f"no file was named by --log; {how}")
            return
        for number, name in enumerate(files, 1):
            content, left_out = await asyncio.to_thread(_end, name)
            kept = "stdin" if name == _STDIN else Path(name).name
            place = f"logs/{number}-{kept}.log"
            bundle.add(place, content.decode(errors="replace"))
            if left_out:
                bundle.note(f"{place} is the end: {left_out:,} bytes before it were left out")

    return Section("logs", "reading logs", collect)


def _end(name: str) -> tuple[bytes, int]:
    try:
        if name == _STDIN:
            content = sys.stdin.buffer.read()
        else:
            with Path(name).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _LAST))
                content = file.read()
                return _whole_lines(content, size - len(content))
    except OSError as error:
        raise OrchestratorError(f"--log {name} cannot be read: {error.strerror}") from None
    return _whole_lines(content[-_LAST:], max(0, len(content) - _LAST))


def _whole_lines(content: bytes, left_out: int) -> tuple[bytes, int]:
    """Without a first line that was cut: what is left of a secret might not be known as one."""
    if not left_out:
        return content, 0
    first, _, rest = content.partition(b"\n")
    return rest, left_out + len(first) + 1
