"""A real PgBouncer in transaction mode, in front of the tests' PostgreSQL: from PATH, else Debian's package."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import psycopg
import sqlalchemy as sa

from tests.support.debian import Unpacked, unpacked
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.postgres import plain_url

_UNPRIVILEGED = "nobody"  # PgBouncer refuses to run as root


def _program(folder: Path) -> tuple[Path, dict[str, str]]:
    """The binary, and the environment that it runs in; skips the test where none can be had."""
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    installed = shutil.which("pgbouncer", path=folders)
    if installed is not None:
        return Path(installed), dict(os.environ)
    package = unpacked(["pgbouncer"])
    if os.geteuid() == 0:  # the cache may lie in a folder that is closed to everybody else
        package = Unpacked(Path(shutil.copytree(package.root, folder / "package", symlinks=True)))
    return package.root / "usr" / "sbin" / "pgbouncer", package.environment()


class PgBouncer:
    """One in transaction mode on 127.0.0.1, with few connections to the server. Use it in a `with`."""

    def __init__(self, server: str, connections: int = 4) -> None:
        self._port, self._connections = free_port(), connections
        self._server = sa.make_url(server)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="orchestrator-pgbouncer-"))
        self._folder.chmod(0o755)
        users = self._folder / "users.txt"
        users.write_text('"postgres" ""\n')
        settings = self._folder / "pgbouncer.ini"
        settings.write_text(
            f"""[databases]
* = host=127.0.0.1 port={self._server.port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self._port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {self._connections}
max_client_conn = 200
server_login_retry = 1
"""
        )
        binary, environment = _program(self._folder)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(binary), str(settings)],
                env=environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                user=pwd.getpwnam(_UNPRIVILEGED).pw_uid if os.geteuid() == 0 else None,
            )
        eventually(self._answers, "PgBouncer answers")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder)

    @property
    def url(self) -> str:
        """The database by way of it."""
        return self._server.set(port=self._port).render_as_string(hide_password=False)

    def _answers(self) -> bool:
        process = self._process
        assert process is not None
        assert process.poll() is None, (self._folder / "log").read_text()
        try:
            psycopg.connect(plain_url(self.url), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True
