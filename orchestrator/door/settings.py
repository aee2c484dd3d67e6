"""The door's settings, each with its one sentence; the operator and `orchestrator serve` offer the same ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

LISTEN: Final = "The address of the HTTP door, host:port; [::1]:8080 for IPv6, port 0 takes a free one and logs it."
TOKENS: Final = (
    "Who may call: a file of tokens, one a line, or a folder with a file for each caller, as a mounted Secret is."
)
WAIT: Final = "The longest ?wait= that a caller may ask for."
WAITS: Final = "Callers that wait at once; who comes after them gets a 202 and asks later."
BACKLOG: Final = "Executions that wait for a worker when new ones are refused with 429."
BODY: Final = "The largest request body, in bytes."

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+):(?P<port>[0-9]{1,5})")
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """What bounds the door."""

    longest_wait: timedelta = timedelta(seconds=60)
    waits: int = 500
    backlog: int = 1000
    body: int = 1 << 20
    accepting: int = 1000  # requests that are being accepted at once; more get 429
    reading: timedelta = timedelta(seconds=10)  # how long a caller may take to send a body
    drain: timedelta = timedelta(seconds=10)  # how long requests under way may take when the process ends


def address(text: str) -> tuple[str, int]:
    """Host and port of `host:port`; raises ValueError with an example."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > _LAST_PORT:
        raise ValueError(f"{text!r} is no host:port, such as 127.0.0.1:8080 or [::1]:8080")
    return found["host"].strip("[]"), int(found["port"])
