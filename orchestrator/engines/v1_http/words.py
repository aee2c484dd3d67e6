"""The legacy engine's words for how an execution stands, and what they mean here."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from orchestrator.model import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEANINGS = {s.value: s for s in (Status.RUNNING, Status.SUCCESS, Status.FAILED, Status.CANCELLED)}

KNOWN: Final[Mapping[str, Status]] = MappingProxyType(
    {
        **dict.fromkeys(("pending", "queued", "started", "running", "in_progress", "waiting"), Status.RUNNING),
        **dict.fromkeys(("suspended", "paused", "compensating", "retrying"), Status.RUNNING),
        **dict.fromkeys(("success", "succeeded", "successful", "completed", "complete", "done"), Status.SUCCESS),
        **dict.fromkeys(("failed", "failure", "error", "errored", "timeout", "timed_out"), Status.FAILED),
        **dict.fromkeys(("cancelled", "canceled", "aborted", "terminated"), Status.CANCELLED),
    }
)


@dataclass(frozen=True, slots=True)
class Words:
    """The words that are known: the usual ones, and those that the settings add or change."""

    further: Mapping[str, Status] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def parse(cls, text: str) -> Words:
        """`ok=success,ko=failed`; raises ValueError that names every bad part."""
        further, bad = {}, []
        for part in filter(None, (part.strip() for part in text.split(","))):
            word, equals, meaning = (side.strip().lower() for side in part.partition("="))
            if not (word and equals and meaning in _MEANINGS):
                bad.append(part)
            else:
                further[word] = _MEANINGS[meaning]
        if bad:
            shown = ", ".join(map(repr, bad))
            raise ValueError(f"{shown}: must be word=meaning, the meaning one of {', '.join(_MEANINGS)}")
        return cls(MappingProxyType(further))

    def meaning(self, word: str) -> Status | None:
        """RUNNING, SUCCESS, FAILED or CANCELLED; None for a word that nobody told us."""
        word = word.strip().lower()
        return self.further.get(word) or KNOWN.get(word)
