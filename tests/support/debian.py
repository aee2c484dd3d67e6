"""Programs from Debian's packages without an installation: fetched by apt with whatever libraries this machine lacks,
and unpacked into our cache. That needs neither root nor a list of libraries.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.local import cache_root
from orchestrator_operator.local.locking import locked

if TYPE_CHECKING:
    from collections.abc import Sequence

_WITHIN = 600  # seconds for a download on a slow network


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Packages as they lie in the cache; `root` is what / would be had they been installed."""

    root: Path

    def environment(self) -> dict[str, str]:
        """With which a program in there finds its libraries and its fonts: ours first, then the machine's."""
        libraries = sorted({str(path.parent) for path in self.root.rglob("lib*.so*")})
        fonts = self.root / "fonts.conf"
        return os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(libraries), "FONTCONFIG_FILE": str(fonts)}


def unpacked(packages: Sequence[str]) -> Unpacked:
    """The packages and what they need beyond this machine's own; the first one names the folder, with its version.

    Skips the test where there is no apt, or where it cannot fetch them.
    """
    name = packages[0]
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip(f"no {name} on PATH, and no apt to fetch Debian's: install it")
    cache = cache_root() / "tests" / name
    with locked(cache.with_suffix(".lock"), timeout=_WITHIN):
        try:
            return _fetched(cache, packages)
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout or "").strip().splitlines()
            pytest.skip(f"no {name} on PATH, and apt cannot fetch it: {' '.join(said[-2:])}")


def _fetched(cache: Path, packages: Sequence[str]) -> Unpacked:
    """In `<cache>/<version>`; complete when `done` is in there. Other versions go: they are large."""
    own_lists = _options(cache)
    version, options = _candidate(packages[0], ()), list[str]()
    if version is None:  # the machine's lists were removed, as images do
        _apt("update", options=own_lists)
        version, options = _candidate(packages[0], own_lists), own_lists
    folder = cache / (version or "unknown").replace(":", "-")
    if (folder / "done").exists():
        return Unpacked(folder)
    for old in cache.glob("*/done"):
        shutil.rmtree(old.parent)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="orchestrator-apt-") as scratch:
        try:
            _download(packages, Path(scratch), options)
        except subprocess.CalledProcessError:  # the machine's lists are too old: the mirror has the next version
            _apt("update", options=own_lists)
            _download(packages, Path(scratch), own_lists)
        for package in Path(scratch).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True, capture_output=True, text=True)
    (folder / "fonts.conf").write_text(_FONTS.format(root=folder), encoding="utf-8")
    (folder / "done").touch()
    return Unpacked(folder)


_FONTS = """<?xml version="1.0"?>
<fontconfig>
  <dir>{root}/usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{root}/fonts-cache</cachedir>
</fontconfig>
"""


def _download(packages: Sequence[str], folder: Path, options: Sequence[str]) -> None:
    (folder / "partial").mkdir(exist_ok=True)
    here = ["-o", f"Dir::Cache::archives={folder}", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"]
    _apt("install", "--download-only", "--yes", "--no-install-recommends", *packages, options=[*options, *here])
    if not any(folder.glob("*.deb")):  # all of them are installed, so apt had nothing to fetch
        subprocess.run(["apt-get", "--quiet", *options, "download", *packages], cwd=folder, check=True, timeout=_WITHIN)


def _candidate(package: str, options: Sequence[str]) -> str | None:
    """The version that apt would install; None where it knows none."""
    said = subprocess.run(["apt-cache", *options, "policy", package], capture_output=True, text=True, check=False)
    found = re.search(r"Candidate: (\S+)", said.stdout)
    return None if found is None or found[1] == "(none)" else found[1]


def _apt(*arguments: str, options: Sequence[str]) -> None:
    command = ["apt-get", "--quiet", *options, *arguments]
    # An update that fails shows in the download after it; its hooks may fail where the system is not ours.
    check = arguments[0] != "update"
    subprocess.run(command, check=check, capture_output=True, text=True, timeout=_WITHIN)


def _options(cache: Path) -> list[str]:
    """Apt's lists in a folder of our own, so that no right to change the system's is needed."""
    lists = cache / "apt"
    (lists / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (lists / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={lists / 'lists'}", "-o", f"Dir::Cache={lists}", "-o", "APT::Sandbox::User=root"]
