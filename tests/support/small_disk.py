"""A file system that is really full: a small tmpfs, filled to the last byte.

Root mounts it. Others mount it in a user namespace of their own, which most Linux systems allow; a process that does
nothing holds that namespace, and its files are reached by /proc from outside (not by SQLite, which follows the link
there to where it came from).
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import pytest

from tests.support.polling import eventually

_FILLER = "filler"


class SmallDisk:
    """A file system of so many megabytes. Use it in a `with`; it skips the test where nobody may mount anything."""

    def __init__(self, megabytes: int) -> None:
        self._options = f"size={megabytes}m,mode=0777"
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Not below pytest's folder, which is closed to others: PostgreSQL runs as another user when we are root.
        self._mounted = self.path = Path(tempfile.mkdtemp(prefix="orchestrator-small-disk-"))
        self._mounted.chmod(0o755)
        if os.geteuid() == 0 and self._mount().returncode == 0:
            return self
        self._hold()
        return self

    def __exit__(self, *_: object) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            if self._holder.stderr is not None:
                self._holder.stderr.close()
        else:
            subprocess.run(["umount", "--lazy", str(self._mounted)], check=True)
        self._mounted.rmdir()

    @property
    def mounted_for_all(self) -> bool:
        """Whether every process of this machine sees it, by its own path."""
        return self._holder is None

    def fill(self) -> int:
        """Take all the space that is left; how many bytes that was."""
        taken = 0
        with (self.path / _FILLER).open("ab") as filler:
            while free := shutil.disk_usage(self.path).free:
                try:
                    os.posix_fallocate(filler.fileno(), filler.tell(), free)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    continue  # somebody else was faster: look again
                taken += filler.seek(0, os.SEEK_END)
        return taken

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.path / _FILLER).unlink(missing_ok=True)

    def _mount(self) -> subprocess.CompletedProcess[bytes]:
        command = ["mount", "-t", "tmpfs", "-o", self._options, "orchestrator-small-disk", str(self._mounted)]
        return subprocess.run(command, check=False, capture_output=True)

    def _hold(self) -> None:
        script = f'mount -t tmpfs -o {self._options} small "$0" && touch "$0/ready" && exec sleep infinity'
        mine = [f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}", "--keep-caps"]
        command = ["unshare", "--user", "--mount", *mine, "sh", "-c", script, str(self._mounted)]
        try:
            self._holder = subprocess.Popen(command, stderr=subprocess.PIPE)
        except FileNotFoundError:
            pytest.skip("a full disk needs a small one: neither root, nor is there `unshare` (util-linux)")
        self.path = Path(f"/proc/{self._holder.pid}/root{self._mounted}")
        ready, holder = self.path / "ready", self._holder
        eventually(lambda: holder.poll() is not None or ready.exists(), "a small disk is mounted", within=10)
        if holder.poll() is not None:
            said = holder.stderr.read().decode() if holder.stderr else ""
            pytest.skip(
                f"a full disk needs a small one: neither root, nor may a user mount anything here ({said.strip()})"
            )
