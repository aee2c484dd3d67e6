"""Backups of a test's PostgreSQL as production takes them: a base backup and its log, restored to a moment."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import psycopg

from tests.support.postgres import LocalPostgres, plain_url

if TYPE_CHECKING:
    from pathlib import Path


class ArchivedPostgres(LocalPostgres):
    """A server that archives its log; `base` and `point` first, then `restore`."""

    def __init__(self, folder: Path) -> None:
        archive = folder / "archive"
        super().__init__(
            settings={
                "archive_mode": "on",
                "archive_command": f"test ! -f {archive}/%f && cp %p {archive}/%f",
                "wal_level": "replica",
                "full_page_writes": "on",
            }
        )
        self._archive, self._base = archive, folder / "base"
        archive.mkdir()
        self._open_to_all(folder)
        self._account.give(archive)
        self._account.give(folder)

    def base(self) -> None:
        """Copy the data, while the server is at work."""
        subprocess.run(
            [
                self.binaries / "pg_basebackup",
                "-D",
                self._base,
                "-d",
                plain_url(self.url()),
                "-c",
                "fast",
                "-X",
                "none",
            ],
            check=True,
            timeout=120,
            env=self._account.environment(),
            capture_output=True,
            user=self._account.uid,
            group=self._account.gid,
            cwd="/",
        )

    def point(self, name: str) -> None:
        """Give the present moment a name."""
        with psycopg.connect(plain_url(self.url()), autocommit=True) as connection:
            connection.execute("SELECT pg_create_restore_point(%s)", [name])
            connection.execute("SELECT pg_switch_wal()")

    def restore(self, name: str) -> None:
        """The data as they were at that moment: what came after is lost."""
        self._shut_down()  # archives what is left of the log
        shutil.rmtree(self._data)
        shutil.copytree(self._base, self._data, symlinks=True)
        with (self._data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            settings.write(
                f"restore_command = 'cp {self._archive}/%f %p'\n"
                f"recovery_target_name = '{name}'\nrecovery_target_action = 'promote'\n"
            )
        (self._data / "recovery.signal").touch()
        for path in (self._data, *self._data.rglob("*")):
            self._account.give(path)
        self._data.chmod(0o700)
        self.start()

    @staticmethod
    def _open_to_all(folder: Path) -> None:
        """The server may be another user's: let it come this far."""
        for place in (folder, *folder.parents):
            if place.stat().st_uid == folder.stat().st_uid and not place.stat().st_mode & 0o001:
                place.chmod(place.stat().st_mode | 0o011)
