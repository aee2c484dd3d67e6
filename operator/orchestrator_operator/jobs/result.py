"""What a program left behind, as a step's output. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

from orchestrator.errors import StepError

MESSAGE_LIMIT: Final = 4096  # bytes that a kubelet keeps of the file
LINE_LIMIT: Final = 256 * 1024  # bytes of a last line
LOG_LIMIT: Final = 8192  # characters of the log's end that are kept
_FAILURE_LINE: Final = 500


def parse_result(text: str, limit: int, where: str) -> Any:
    """JSON as its value, other text as it is, nothing as None. Raises StepError `ResultTooLarge`.

    What was cut off has exactly the limit's size, so what has it counts as too large.
    """
    if len(text.encode()) >= limit:
        message = (
            f"{where} has {limit} bytes or more; leave larger results in a volume or a service, and their place here"
        )
        raise StepError("ResultTooLarge", message, retryable=False)
    stripped = text.strip()
    if not stripped:
        return None
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        return stripped


def log_tail(text: str) -> str:
    """The end of a log, of whole lines where there are several."""
    if len(text) <= LOG_LIMIT:
        return text
    end = text[-LOG_LIMIT:]
    return end.partition("\n")[2] or end


def with_last_line(message: str, log: str | None) -> str:
    """A failure's message with the last thing that the program said."""
    lines = [line.strip() for line in (log or "").splitlines() if line.strip()]
    return f"{message}; it said last: {lines[-1][-_FAILURE_LINE:]}" if lines else message
