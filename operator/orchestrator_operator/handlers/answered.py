"""`status.handled.requests`: which requests were answered, and which are about to be carried out. Pure.

What stands in a status may have been written by anybody: whatever is not an entry of ours counts for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator_operator.specs.conditions import clip, timestamp
from orchestrator_operator.specs.requests import KEPT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from orchestrator_operator.specs.requests import Asked

_ANSWER: Final = 256  # bytes


def find(handled: Mapping[str, Any], asked: Asked) -> dict[str, Any] | None:
    """The entry of this very request, with this very text."""
    mine = (one for one in entries(handled) if one["request"] == asked.short and one.get("digest") == asked.digest)
    return next(mine, None)


def is_answered(entry: Mapping[str, Any] | None) -> bool:
    """Whether nothing is left to do but to take the annotation off."""
    return entry is not None and isinstance(entry.get("accepted"), bool)


def answer(asked: Asked, text: str, at: datetime, *, accepted: bool) -> dict[str, Any]:
    """The entry that says what became of a request."""
    return {
        "request": asked.short,
        "digest": asked.digest,
        "accepted": accepted,
        "answer": clip(text, _ANSWER),
        "at": timestamp(at),
    }


def intent(asked: Asked, node: str) -> dict[str, Any]:
    """The entry that says for which node an approval is about to be recorded. After a crash it is still that one."""
    return {"request": asked.short, "digest": asked.digest, "node": node}


def put(handled: Mapping[str, Any], new: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries with the new ones in place of those of the same requests: all intents, and the newest answers."""
    kept = {one["request"]: one for one in entries(handled)}
    for entry in new:
        kept.pop(entry["request"], None)
        kept[entry["request"]] = entry
    intents = [one for one in kept.values() if not is_answered(one)]
    answers = [one for one in kept.values() if is_answered(one)]
    return [*intents, *answers[-KEPT:]]


def entries(handled: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is readable of `handled.requests`, oldest first."""
    found = handled.get("requests")
    return [one for one in found if isinstance(one, dict) and "request" in one] if isinstance(found, list) else []
