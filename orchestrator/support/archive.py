"""The bundle as one file: whole or not at all, and readable for its owner alone."""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from orchestrator.support.bundle import Bundle

_MANIFEST = "manifest.json"


def write(bundle: Bundle, path: Path) -> None:
    """Write `path`, a tar.gz with one folder; raises InvalidInput if that is not possible."""
    folder = path.name.removesuffix(".tar.gz").removesuffix(".tgz")
    files = {"README.txt": _readme(bundle), **bundle.files, _MANIFEST: bundle.scrubber.json(bundle.manifest())}
    scratch = None
    try:
        with tempfile.NamedTemporaryFile(  # which gives it to its owner alone
            dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as file:
            scratch = Path(file.name)
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                for name, text in files.items():
                    _put(archive, f"{folder}/{name}", text.encode(errors="replace"), bundle.made_at.timestamp())
        scratch.replace(path)
    except OSError as error:
        raise InvalidInput([Problem("--output", f"{path} cannot be written: {error.strerror}")]) from None
    finally:
        if scratch is not None:
            with contextlib.suppress(OSError):
                scratch.unlink()


def _put(archive: tarfile.TarFile, name: str, content: bytes, at: float) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(content), int(at), 0o644
    archive.addfile(member, io.BytesIO(content))


def _readme(bundle: Bundle) -> str:
    """For whoever opens it first."""
    parts = [
        f"  {part.name:<10} {part.state}{f': {part.reason}' if part.reason else ''}"
        for part in bundle.parts
    ]  # fmt: skip
    left_out = [f"  - {what}" for what in bundle.manifest()["left_out"]]
    lines = [
        f"Orchestrator {bundle.version}, support bundle of {bundle.made_at.isoformat(timespec='seconds')}",
        "",
        "Parts:",
        *parts,
        *(["", "Notes:", *(f"  - {note}" for note in bundle.notes)] if bundle.notes else []),
        "",
        "Left out on purpose:",
        *left_out,
        "",
        "Secrets that were known, and what looks like one, read ***. A machine cannot know every secret:",
        "read the files before you give them away. They are plain text.",
    ]
    return "\n".join(lines) + "\n"
