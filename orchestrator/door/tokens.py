"""Who may call: bearer tokens from a file or a folder, compared in constant time, rotated without a restart.

A file holds one token a line, or `NAME TOKEN`; `#` begins a comment. A folder holds a file for each caller, named for
it, with one token a line: just as a Secret is mounted. Two lines at once is how a token is rotated.

The tokens are read anew once a second at most. If they cannot be read nobody is let in.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.errors import InvalidInput, Problem
from orchestrator.masks import MASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHORTEST: Final = 32  # characters: what nobody guesses
_LARGEST_FILE: Final = 1 << 20
_FRESH: Final = 1.0  # seconds
_SCHEME: Final = "bearer "


@dataclass(frozen=True, slots=True)
class _Known:
    caller: str
    digest: bytes  # of a token: what is compared has the same length whatever was sent


class Tokens:
    """The tokens at a path. Their values are masked in everything that this process logs."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path, self._monotonic = path, monotonic
        self._known: tuple[_Known, ...] = ()
        self._read_at: float | None = None

    def check(self) -> None:
        """Raise InvalidInput if nobody could be let in as things stand."""
        self._refresh()

    def caller(self, authorization: str | None) -> str | None:
        """The name of the caller whom a header `Authorization` belongs to, None for nobody.

        Raises InvalidInput if the tokens cannot be read now.
        """
        self._refresh()
        text = authorization or ""
        token = text[len(_SCHEME) :].strip(" ") if text[: len(_SCHEME)].lower() == _SCHEME else ""
        given = _digest(token)
        found = None
        for known in self._known:  # every one of them, whichever fits
            if hmac.compare_digest(known.digest, given):
                found = known.caller
        return found if token else None

    def _refresh(self) -> None:
        now = self._monotonic()
        if self._read_at is None or now - self._read_at >= _FRESH:
            self._known = tuple(_read(self._path))
            self._read_at = now


def _read(path: Path) -> Iterator[_Known]:
    """Every token, each masked from now on."""
    found = False
    for caller, place, token in _lines(path):
        if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
            message = f"a token is one word of printable ASCII, {SHORTEST} characters at least: `openssl rand -hex 32`"
            raise InvalidInput([Problem(place, message)])
        MASKS.add(token)
        found = True
        yield _Known(caller, _digest(token))
    if not found:
        raise InvalidInput([Problem(str(path), "holds no token: `openssl rand -hex 32` makes one")])


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Caller, place and token; a token is never part of the place."""
    try:
        # Hidden names are the mount's own (`..data`).
        files = sorted(f for f in path.iterdir() if not f.name.startswith(".")) if path.is_dir() else [path]
        texts = [(file, _text(file)) for file in files]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput([Problem(str(path), f"the tokens cannot be read: {why}")]) from None
    for file, text in texts:
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split()
            if words:
                named = file.name if path.is_dir() else f"line-{number}" if len(words) == 1 else words[0]
                yield named, f"{file}:{number}", " ".join(words if path.is_dir() or len(words) == 1 else words[1:])


def _text(file: Path) -> str:
    with file.open(encoding="utf-8") as opened:
        text = opened.read(_LARGEST_FILE + 1)
    if len(text) > _LARGEST_FILE:  # a part of it would end within a token
        message = f"is larger than {_LARGEST_FILE} characters; tokens of callers that are gone can be removed"
        raise InvalidInput([Problem(str(file), message)])
    return text


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
