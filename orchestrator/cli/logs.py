"""Logs go to standard error, as JSON lines where nobody is watching, so that standard output stays the answer.

No secret that this process has read leaves it by a log: neither by ours nor by a library's, nor by a traceback.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator.masks import MASKS

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import TracebackType


class _StandardError:
    """Where standard error leads when a line is written. Loggers are kept for good: one that kept the stream itself
    would fail with every line, and whoever logs with it, once that stream was replaced and closed.
    """

    @staticmethod
    def write(text: str) -> int:
        return sys.stderr.write(text)

    @staticmethod
    def flush() -> None:
        sys.stderr.flush()


STANDARD_ERROR: Any = _StandardError()


def configure(*, verbose: bool) -> None:
    """Set up structlog: warnings only unless `verbose`. Masks structlog's and the standard library's logs."""
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            masked,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO if verbose else logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(STANDARD_ERROR),
        cache_logger_on_first_use=True,
    )
    logging.setLogRecordFactory(_record)
    sys.excepthook = _excepthook


def masked(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor, to stand just before the renderer: no secret in any value."""
    if not MASKS:
        return event
    return {key: MASKS.anything(value) for key, value in event.items()}


def _record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """A record of the standard library's logging, whoever writes it and wherever it goes, without secrets."""
    record = logging.LogRecord(*args, **kwargs)
    if not MASKS:
        return record
    record.msg, record.args = MASKS.text(_message(record)), None
    if record.exc_info:
        # Formatters prefer the text to the exception.
        record.exc_text = MASKS.text("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
        record.exc_info = None
    return record


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - an argument's own __str__ may raise anything
        return f"{record.msg!r} % {record.args!r}"


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ends the process goes to standard error too."""
    sys.stderr.write(MASKS.text("".join(traceback.format_exception(kind, error, trace))))
