"""The secrets that this process can know: from its environment, and from the files that its settings name."""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from orchestrator.masks import SHORTEST, Masks
from orchestrator.secrets import HOSTS, LARGEST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_SOUNDS = re.compile(r"(?i)passw|pwd|secret|token|key|credential|cookie|auth|dsn|connection_?string")
_USER = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:([^\s/@]+)@")
_KEYWORD = re.compile(r"(?i)\bpassword\s*=\s*('[^']+'|\S+)")  # of a libpq connection string, or a URL's query
_FOLDER = "ORCHESTRATOR_SECRETS"
_MOST_FILES: Final = 2_000


def known_secrets(environment: Mapping[str, str], harmless: Collection[str], *more: str | None) -> Masks:
    """What must not leave: values of variables that sound secret, or what the file holds that they name; passwords in
    any variable; what the mounted Secrets hold.

    `harmless` are variables that are no secrets whatever they sound like; `more` are texts in which a password may
    stand, such as an option's database URL. Values of fewer than eight characters cannot be masked: they would blot
    out harmless data.
    """
    masks = Masks()
    for value in _values(environment, harmless, [text for text in more if text]):
        if len(value) >= SHORTEST:
            masks.add(value)
    return masks


def _values(environment: Mapping[str, str], harmless: Collection[str], more: Collection[str]) -> Iterator[str]:
    for name, value in environment.items():
        if not _SOUNDS.search(name):
            continue
        if _is_there(value):
            yield from _lines(Path(value))
        elif name not in harmless:
            yield value
    for text in (*environment.values(), *more):
        for password in (*_USER.findall(text), *_KEYWORD.findall(text)):
            yield password.strip("'")
            yield unquote(password)
    if environment.get(_FOLDER):
        for path in islice(_below(Path(environment[_FOLDER])), _MOST_FILES):
            yield from _lines(path)


def _is_there(value: str) -> bool:
    """Whether a value is the path of a file or a folder, and so no secret itself."""
    try:
        return bool(value) and Path(value).exists()
    except OSError:  # too long to be a path
        return False


def _below(folder: Path) -> Iterator[Path]:
    """The mounted Secrets' files, but for the lists of hosts."""
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith("..")]  # Kubernetes' own links to what is there
        yield from (Path(where, name) for name in sorted(names) if name != HOSTS)


def _lines(path: Path) -> Iterator[str]:
    """A file's content, whole and line by line; nothing of one that cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST).decode()
    except (OSError, UnicodeDecodeError):
        return
    yield text.strip()
    yield from (line.strip() for line in text.splitlines() if line.strip() != text.strip())
