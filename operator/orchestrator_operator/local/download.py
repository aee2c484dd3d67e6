"""Official releases, where the network has them; nothing is kept that does not match its published SHA-256.

The checksum comes over TLS from the same publisher as the file. It guards against truncated, altered-on-the-way and
half-written files; for more than that, build from source, where go.sum pins every module.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from orchestrator_operator.local.errors import ToolUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator_operator.local.catalogue import Release

_TIMEOUT = httpx.Timeout(60.0, connect=3.0)  # a closed network is noticed fast, a slow one may take its time
_CHUNK = 1 << 20


def origin(url: str) -> str:
    """Scheme and host of a URL: what is reachable or not."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@cache
def reachable(server: str) -> bool:
    """Whether a server answers at all; asked once for each and run, because a closed network costs seconds."""
    try:
        httpx.head(server, timeout=_TIMEOUT, follow_redirects=False)
    except httpx.HTTPError:
        return False
    return True


def require_reachable(release: Release) -> None:
    """Raise ToolUnavailable where the network does not lead to a release's server."""
    server = origin(release.url)
    if not reachable(server):
        raise ToolUnavailable(f"{server} cannot be reached from here")


def fetch(release: Release, target: Path, scratch: Path, tick: Callable[[str], None]) -> None:
    """Download a release's binary to `target`, checked and executable; ToolUnavailable says why it could not be.

    Archives stay in `scratch` (two tools may come in one), to be removed by the caller at the end.
    """
    file = urlsplit(release.url).path.rsplit("/", 1)[-1]
    scratch.mkdir(parents=True, exist_ok=True)
    body = scratch / file
    try:
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=True) as client:
            wanted = published_checksum(_text(client, release.checksums), file)
            if not body.is_file() or _digest(body) != wanted:
                _download(client, release.url, body, tick)
        if (actual := _digest(body)) != wanted:
            body.unlink()
            raise ToolUnavailable(f"{release.url} has the SHA-256 {actual}, but {wanted} was published: refused")
        if release.member is None:
            body.replace(target)
        else:
            _extract(body, release.member, target)
        target.chmod(0o755)
    except httpx.HTTPError as error:
        raise ToolUnavailable(f"the download of {release.url} failed: {error}") from error


def published_checksum(text: str, file: str) -> str:
    """The SHA-256 of a file from a list in `sha256sum` format, or from a text that is nothing but the sum."""
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})(?:\s+\*?(\S+))?", line.strip().lower())
        if match and match[2] in (None, file.lower()):
            return match[1]
    raise ToolUnavailable(f"no SHA-256 of {file} was published where it should be")


def _text(client: httpx.Client, url: str) -> str:
    response = client.get(url)
    response.raise_for_status()
    return response.text


def _download(client: httpx.Client, url: str, target: Path, tick: Callable[[str], None]) -> None:
    received = 0
    with client.stream("GET", url) as response, target.open("wb") as file:
        response.raise_for_status()
        for chunk in response.iter_bytes(_CHUNK):
            file.write(chunk)
            received += len(chunk)
            tick(f"{received / 1e6:.0f} MB")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _extract(archive: Path, member: str, target: Path) -> None:
    """Take one regular file out of a tar archive: never its path, its links or its owner."""
    try:
        with tarfile.open(archive) as tar:
            source = tar.extractfile(member)
            if source is None:
                raise ToolUnavailable(f"{member} in {archive.name} is no file")
            with source, target.open("wb") as file:
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
    except (tarfile.TarError, KeyError) as error:
        raise ToolUnavailable(f"{archive.name} does not hold {member}: {error}") from error
