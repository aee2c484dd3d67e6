"""The release before this one, out of the clone's history: its code beside ours, for tests of an upgrade.

It runs with the packages of this version's environment, the newest that it will ever meet.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]

#: Stands for the previous release as long as there is no tag: a version that writes the first schema.
BEFORE_THE_FIRST_TAG = "964950a30a7ada7fa939d9b08665cb5b74448606"


class NotHere(LookupError):
    """The history does not reach back to it, or there is none; says what to do about it."""


@dataclass(frozen=True, slots=True)
class Previous:
    """A version's files, unpacked."""

    name: str  # its tag, or its commit
    folder: Path

    def environment(self, *others: Path) -> Mapping[str, str]:
        """For a process that runs its code: its packages are found before those of the environment."""
        places = [self.folder, self.folder / "operator", *others]
        return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))}


def unpack(folder: Path, repository: Path = ROOT, pinned: str = BEFORE_THE_FIRST_TAG) -> Previous:
    """The newest release that this version comes from, else the pinned commit; raises NotHere."""
    name = find(repository, pinned)
    archive = _git(repository, "archive", "--format=tar", name, "orchestrator", "operator", "crds").stdout
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return Previous(name, folder)


def find(repository: Path, pinned: str) -> str:
    """The newest tag `v…` behind HEAD, else the pinned commit if the clone has it; raises NotHere."""
    if _git(repository, "rev-parse", "--git-dir").returncode != 0:
        raise NotHere("these files are no git clone, so no older version is here: clone the repository")
    described = _git(repository, "describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^")
    if described.returncode == 0:
        return described.stdout.decode().strip()
    if _git(repository, "cat-file", "-e", f"{pinned}^{{commit}}").returncode == 0:
        return pinned
    raise NotHere(
        f"the clone's history reaches back to no tag v… and not to {pinned[:10]}, perhaps because it is a shallow one: "
        "git fetch --unshallow --tags"
    )


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    # A clone that belongs to somebody else (a CI's container) is read all the same.
    command = ["git", "-c", f"safe.directory={repository}", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=60)
