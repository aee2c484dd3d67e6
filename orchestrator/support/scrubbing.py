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

_SOUNDS = (
    r"passw(?:or)?d|passphrase|pwd|secret|token|credential|cookie"
    r"|(?:api|access|private|account|signing|encryption)[_-]?key"
)
_NAME = rf"[\w.-]{{0,60}}(?:{_SOUNDS})[\w.-]{{0,60}}"
_TOKENS = (
    r"gh[pousr]_|github_pat_|glpat-|xox[abprs]-|[srp]k_(?:live|test)_|sb[a-z]?_secret_|AIza|sk-|hvs\.|npm_|pypi-|SG\."
    r"|dop_v1_|ya29\.|sha256~"
)
_OPEN = r"\\{0,7}[\"']"  # a quote, within JSON that may stand in a text of JSON itself
#: A value in quotes, and what is escaped within. Of one that is never closed the rest of its line.
_QUOTED = (
    r"\"(?:[^\"\\]|\\.){0,4000}\"|'(?:[^'\\]|\\.){0,4000}'"
    r"|(\\{1,7})\"(?:(?!(?<!\\)\2\").){0,4000}(?<!\\)\2\""
    rf"|{_OPEN}[^\r\n]{{0,4000}}"
)
_SHELL = rf"(?:'[^']{{0,4000}}'|{_QUOTED}|\\.|[^\s\"'\\]{{1,2000}}){{1,50}}"  # a word, parts of it in quotes
_WORD = r"[^\s,;&)}\]\"'\\]{1,2000}"
_PARAMETERS = r"[\w-]{1,60}=(?:\\{0,7}\"[^\"\r\n]{0,2000}\"|[^\s,;\"']{0,2000})"
_LIST = rf"{_PARAMETERS}(?:,\s{{0,3}}{_PARAMETERS}){{0,30}}"  # of Digest, OAuth, AWS4-…
_PAIRS = r"(?:[^\s=;,\"'\\]{1,200}=\\{0,7}\"[^\"\r\n]{0,2000}\"(?:;\s{0,3})?){0,50}"  # of cookies in quotes

#: What looks like a secret, and what is left of it. Each repetition has a bound: a hostile line must not take for ever.
#: Where it is not clear how far a secret goes, too much is blotted out, never too little.
_LOOKS_LIKE: Final = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"(?s)-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.{0,8000}?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", MASK),
        # user:password@host; a password may hold anything, so up to the last @; the port of a web page is none.
        (
            (
                r"\b((?!(?:https?|wss?)://[^\s:/@\"]{0,300}:\d{1,5}(?:[/?#\s\"]|$))[A-Za-z][A-Za-z0-9+.-]{1,30}://)"
                r"[^\s:/@\"]{0,200}:(?:[^\s\"]|\"(?![\s,}\]:\\])){1,500}@"
            ),
            rf"\1{MASK}@",
        ),
        (r"\b([A-Za-z][A-Za-z0-9+.-]{1,30}://)[^\s/@\"']{1,500}@", rf"\1{MASK}@"),  # a token as the user
        (
            (
                r"(?i)(https?://(?:hooks\.[^\s/\"']{1,200}|[^\s/\"']{0,200}\.webhook\.office\.com"
                r"|discord(?:app)?\.com/api/webhooks)/)[^\s\"']{1,500}"
            ),
            rf"\1{MASK}",
        ),  # who knows it may post
        (rf"(?i)\b(digest|oauth)(\s{{1,3}}){_LIST}", rf"\1\2{MASK}"),
        (r"(?i)\b(bearer|basic|digest|apikey)(\s{1,3})[A-Za-z0-9._~+/=-]{6,4000}", rf"\1\2{MASK}"),
        # A header's value by whatever scheme: two words, or a list of parameters.
        (
            (
                rf"(?i)\b(authorization\\{{0,7}}[\"']?\s{{0,3}}[:=,]\s{{0,3}})"
                rf"(?!\\{{0,7}}[\"']?(?:bearer|basic|apikey) {re.escape(MASK)}(?:[\s,]|\\{{0,7}}[\"']|$))"
                rf"(?:{_QUOTED}|(?:[A-Za-z][\w-]{{0,40}}[ \t]{{1,3}})?(?:{_LIST}"
                r"|[^\s,;\"']{1,4000}))"
            ),
            rf"\1{MASK}",
        ),
        (
            rf"(?i)\b(cookie\\{{0,7}}[\"']?\s{{0,3}}[:=]\s{{0,3}})(?:{_QUOTED}|{_PAIRS}[^\"\r\n]{{0,8000}})",
            rf"\1{MASK}",
        ),
        (r"\beyJ[A-Za-z0-9_-]{6,4000}\.[A-Za-z0-9_-]{4,8000}(?:\.[A-Za-z0-9_-]{0,2000})?", MASK),  # a JSON web token
        (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", MASK),
        (rf"\b(?:{_TOKENS})[\w-]{{10,500}}(?:\.[\w-]{{10,500}}){{0,3}}", MASK),
        (rf"(?i)([?&;]{_NAME}=)[^&\s\"'#]{{1,2000}}", rf"\1{MASK}"),
        (r"(?i)([?&](?:[\w-]{0,40}sig(?:nature)?|key|code|auth)=)[^&\s\"'#]{1,2000}", rf"\1{MASK}"),
        # A name that says it, and its value; as a pair of JSON, of a shell, or of a list of a program's words.
        (rf"(?i)(\b{_NAME}\\{{0,7}}[\"']?\s{{0,3}}[:=]\s{{0,3}})(?:{_QUOTED}|{_WORD})", rf"\1{MASK}"),
        (rf"(?i)((?<![\w-])--?{_NAME}\s{{1,3}})(?!--){_SHELL}", rf"\1{MASK}"),
        (rf"(?i)((?<![\w-])--?{_NAME}\\{{0,7}}[\"'],\s{{0,3}})(?:{_QUOTED})", rf"\1{MASK}"),
        (rf"(?i)((?<![\w-])_?auth\\{{0,7}}[\"']?\s{{0,3}}[:=]\s{{0,3}})(?:{_QUOTED}|{_WORD})", rf"\1{MASK}"),
        (rf"(?i)((?<![\w-])pass=)(?:{_QUOTED}|{_WORD})", rf"\1{MASK}"),
        (r"(?i)((?<![\w-])(?:-u|--user)[ =]{1,3}[\"']?[^\s:\"']{1,200}:)[^\s\"']{1,500}", rf"\1{MASK}"),  # of curl
        (r"(?i)(\b(?:password|identified by)\s{1,3})'(?:[^']|''){1,2000}'", rf"\1{MASK}"),  # of SQL
    )
)
_KEY: Final = re.compile(rf"(?i)(?!ORCHESTRATOR_).{{0,100}}(?:{_SOUNDS}|authorization)s?|_?auth")
_FLAG: Final = re.compile(rf"(?i)--?{_NAME}")


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
                return {self._masks.text(str(key)): self._member(str(key), member) for key, member in value.items()}
            case list() | tuple():
                before = ["", *value]
                return [self._after(one, member) for one, member in zip(before, value, strict=False)]
            case datetime():
                return value.isoformat()
            case None | bool() | int() | float():
                return self._masks.anything(value)
            case _:
                return self.text(str(value))

    def _member(self, key: str, value: Any) -> Any:
        """A text or a number below a name that says what it is."""
        named = isinstance(value, str | int | float) and not isinstance(value, bool) and _KEY.fullmatch(key)
        return MASK if named else self._value(value)

    def _after(self, before: Any, value: Any) -> Any:
        """A word of a command line: `--password`, and then what it is."""
        named = isinstance(value, str) and isinstance(before, str) and _FLAG.fullmatch(before)
        return MASK if named else self._value(value)
