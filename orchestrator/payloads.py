"""How large a value may be that an execution carries: histories are read often, and by everybody."""

from __future__ import annotations

from typing import Final

from orchestrator.errors import PayloadTooLarge

MAX_PAYLOAD: Final = 256 * 1024  # bytes of a value's JSON text


def check_size(text: str, what: str) -> None:
    """Raise PayloadTooLarge, naming `what`, if a JSON text is larger than MAX_PAYLOAD."""
    if len(text) * 4 <= MAX_PAYLOAD:  # no character takes more than four bytes
        return
    size = len(text.encode())
    if size > MAX_PAYLOAD:
        raise PayloadTooLarge(
            f"{what} has {size} bytes as JSON, and {MAX_PAYLOAD} are allowed: keep it in a store of its own and hand "
            "on a reference"
        )
