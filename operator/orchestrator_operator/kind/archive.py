"""Images without a Dockerfile: a tar archive, streamed into `docker import`."""

from __future__ import annotations

import subprocess
import tarfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def of_folder(folder: Path) -> Callable[[IO[bytes]], None]:
    """A root filesystem as it lies there, owners and all."""

    def feed(pipe: IO[bytes]) -> None:
        command = ["tar", "-C", str(folder), "--numeric-owner", "--xattrs", "-cf", "-", "."]
        subprocess.run(command, stdout=pipe, check=True)

    return feed


def of_files(files: Mapping[str, Path]) -> Callable[[IO[bytes]], None]:
    """Programs by their paths in the image, all executable, and a /tmp: what a static binary needs, nothing else."""

    def feed(pipe: IO[bytes]) -> None:
        with tarfile.open(fileobj=pipe, mode="w|") as tar:
            temporary = tarfile.TarInfo("tmp")
            temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(temporary)
            for path, source in files.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.mode, entry.size = 0o755, source.stat().st_size
                with source.open("rb") as content:
                    tar.addfile(entry, content)

    return feed
