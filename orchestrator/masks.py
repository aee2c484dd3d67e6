"""Masks: every secret that this process has read, found again in whatever is about to leave it, and blotted out.

Services echo what they are sent: as it is, escaped for JSON, a URL or HTML, or as Base64 within something longer. Each
of these forms is found; a form that somebody makes on purpose (reversed, cut in two, encrypted) is not.

A text is searched for a secret's longest run of letters and digits first, which no encoder changes; the tolerant
pattern runs only where that was found. While no secret was ever read nothing is searched at all.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from threading import Lock
from typing import Any

MASK = "***"
SHORTEST = 8  # characters: shorter values would be found, and blotted out, in harmless data
_SHORTEST_LINE = 16  # characters of one line of a secret of many, such as a private key
_RUN = re.compile(r"[A-Za-z0-9]+")
_PLAIN = re.compile(r"[A-Za-z0-9]")
_HTML = {'"': "quot", "&": "amp", "'": "apos", "<": "lt", ">": "gt"}
_CONTROL = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}


@dataclass(frozen=True, slots=True)
class _Form:
    """One way in which a secret may appear: `run` stands in each of its spellings."""

    run: str
    pattern: re.Pattern[str]


class Masks:
    """The secrets of a process. Safe to be used by many threads."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._forms: tuple[_Form, ...] = ()
        self._lock = Lock()

    def __bool__(self) -> bool:
        """Whether there is anything to mask."""
        return bool(self._forms)

    def add(self, value: str) -> None:
        """Mask this value from now on, for as long as the process lives: one that was rotated may still be echoed."""
        if value in self._known:
            return
        with self._lock:
            if value not in self._known:
                self._forms += tuple(_forms(value))
                self._known |= {value}

    def text(self, text: str) -> str:
        """A text with every secret as `***`; the very same object if it holds none."""
        spans = [span for form in self._forms if form.run in text for span in _spans(form.pattern, text)]
        return _without(text, spans) if spans else text

    def json(self, value: Any) -> Any:
        """A JSON value, masked in its texts, keys and numbers; the very same object if it holds no secret."""
        if not self._forms:
            return value
        whole = json.dumps(value, ensure_ascii=False)
        return value if self.text(whole) is whole else self._masked(value)

    def anything(self, value: Any) -> Any:
        """The same for what a log is given: an object that is not JSON becomes its masked `repr`, if need be."""
        if not self._forms:
            return value
        return self._masked(value)

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self._masked(key): self._masked(member) for key, member in value.items()}
        if isinstance(value, list | tuple):
            return [self._masked(member) for member in value]
        if value is None or isinstance(value, bool):
            return value
        shown = repr(value)
        if self.text(shown) is shown:
            return value
        return MASK if isinstance(value, int | float) else self.text(shown)


MASKS = Masks()  # of this process: whoever reads a secret adds it here, whoever writes a log or an output looks here


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    at = 0
    while found := pattern.search(text, at):
        yield found.span()
        at = found.start() + 1  # a secret may overlap itself, and what is left of it would tell its end


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text without these spans; those that overlap are one, or a piece of a secret would stay."""
    parts: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            parts += [text[end:start], MASK]
        end = max(end, stop)
    return "".join([*parts, text[end:]])


# ---- the forms of a secret


def _forms(value: str) -> Iterator[_Form]:
    yield _form(value)
    raw = value.encode()
    if not value.isascii():
        yield _form(raw.decode("latin-1"))  # what becomes of it where somebody took its bytes for Latin-1
    for text in _base64(raw):
        yield _form(text)
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        yield from (_form(line) for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----"))


def _form(text: str) -> _Form:
    run = max(_RUN.findall(text), key=len, default="")
    pattern = "".join(_spellings(character, len(list(same))) for character, same in groupby(text))
    return _Form(run, re.compile(pattern))


def _base64(raw: bytes) -> set[str]:
    """What Base64 makes of these bytes wherever they stand in something longer.

    They may begin at any of three places within a group of three bytes; the characters that depend on their
    neighbours are left out.
    """
    found: set[str] = set()
    for before in range(3):
        padded = bytes(before) + raw
        whole = len(padded) // 3 * 4  # characters of complete groups
        first = (before * 8 + 5) // 6
        rest = len(padded) % 3
        last = whole + (rest * 8) // 6
        for altchars in (b"+/", b"-_"):
            encoded = base64.b64encode(padded, altchars).decode()
            found.add(encoded[first:last])
    return found


def _spellings(character: str, times: int) -> str:
    """A pattern for a character, so many times, as it is, and as JSON, Python, URLs or HTML escape it.

    Also where one escaped what another had, up to three deep: repetitions have bounds, or a hostile text could make the
    search take for ever.
    """
    if _PLAIN.match(character):
        return character * times
    raw = character.encode()
    units = character.encode("utf-16-be")
    ways = [
        "".join(f"%(?:25){{0,2}}{_hex(f'{byte:02x}')}" for byte in raw),
        "".join(rf"\\{{1,8}}u{_hex(units[at : at + 2].hex())}" for at in range(0, len(units), 2)),
        "".join(rf"\\{{1,8}}x{_hex(f'{byte:02x}')}" for byte in raw),
        rf"\\{{1,8}}(?:x{_hex(f'{ord(character):02x}')}|U{_hex(f'{ord(character):08x}')})",
        _entity(character),
    ]
    if character == " ":
        ways.append(r"\+")
    if character in _CONTROL:
        ways.append(r"\\{1,8}" + _CONTROL[character])
    if character == "\\":  # all of them at once: which of many belongs to which could be guessed in too many ways
        return rf"(?:\\{{{times},{8 * times}}}|(?:{'|'.join(ways)}){{{times}}})"
    ways.append(r"\\{0,7}" + re.escape(character))
    return f"(?:{'|'.join(ways)}){{{times}}}"


def _entity(character: str) -> str:
    number = ord(character)
    named = f"|{_HTML[character]}" if character in _HTML else ""
    return f"&(?:amp;){{0,2}}(?:#0{{0,4}}{number}|#[xX]0{{0,4}}{_hex(f'{number:x}')}{named});"


def _hex(digits: str) -> str:
    """These hexadecimal digits in either case."""
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)
