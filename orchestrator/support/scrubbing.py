"""Texts without secrets: those that are known, wherever they stand, and what looks like one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from orchestrator.masks import MASK

if TYPE_CHECKING:
    from orchestrator.masks import Masks

_SOUNDS = r"passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|cookie"
_NAME = rf"[\w.-]{{0,60}}(?:{_SOUNDS})[\w.-]{{0,60}}"
_QUOTED = r"\\?\"(?:[^\"\\]|\\[^\"]){1,2000}\\?\"|'[^']{1,2000}'"
_TOKENS = r"gh[pousr]_|github_pat_|glpat-|xox[abprs]-|[srp]k_(?:live|test)_|sb[a-z]?_secret_|AIza"

#: What looks like a secret, and what is left of it. Each repetition has a bound: a hostile line must not take for ever.
_LOOKS_LIKE: Final = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"(?s)-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.{0,8000}?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", MASK),
        (r"\b([A-Za-z][A-Za-z0-9+.-]{1,30}://)[^\s/@\"']{1,500}@", rf"\1{MASK}@"),  # user:password@host
        (r"(?i)(https?://hooks\.[^\s/\"']{1,200}/)[^\s\"']{1,500}", rf"\1{MASK}"),  # who knows it may post
        (r"(?i)\b(bearer|basic|digest)(\s{1,3})[A-Za-z0-9._~+/=-]{6,4000}", rf"\1\2{MASK}"),
        (r"\beyJ[A-Za-z0-9_-]{6,4000}\.[A-Za-z0-9_-]{4,8000}(?:\.[A-Za-z0-9_-]{0,2000})?", MASK),  # a JSON web token
        (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", MASK),
        (rf"\b(?:{_TOKENS})[\w-]{{10,500}}", MASK),
        (rf"(?i)([?&;]{_NAME}=)[^&\s\"'#]{{1,2000}}", rf"\1{MASK}"),
        (r"(?i)([?&](?:sig|signature|key|code|auth)=)[^&\s\"'#]{1,2000}", rf"\1{MASK}"),
        (
            rf"(?i)(\b{_NAME}\\?[\"']?\s{{0,3}}[:=]\s{{0,3}})({_QUOTED}|[^\s,;&)}}\]\"'\\]{{1,2000}})",
            rf"\1{MASK}",
        ),
        (
            r"(?i)\b(authorization\\?[\"']?\s{0,3}[:=]\s{0,3}\\?[\"']?)(?!bearer|basic|digest)[^\s,;\"']{1,2000}",
            rf"\1{MASK}",
        ),
    )
)


class Scrubber:
    """Blots secrets out. `masks` holds those that are known by their value."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks

    def text(self, text: str) -> str:
        """A text for people, such as a line of a log."""
        text = self._masks.text(text)
        for pattern, instead in _LOOKS_LIKE:
            text = pattern.sub(instead, text)
        return text

    def json(self, value: Any) -> str:
        """A value as JSON, each text in it and each key scrubbed; moments and decimals are written as JSON has them."""
        return json.dumps(self._value(value), indent=1, ensure_ascii=False) + "\n"

    def line(self, value: Any) -> str:
        """The same in one line."""
        return json.dumps(self._value(value), ensure_ascii=False)

    def _value(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {self._masks.text(str(key)): self._value(member) for key, member in value.items()}
            case list() | tuple():
                return [self._value(member) for member in value]
            case datetime():
                return value.isoformat()
            case None | bool() | int() | float():
                return self._masks.anything(value)
            case _:
                return self.text(str(value))
