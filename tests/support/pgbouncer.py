"""A real PgBouncer in transaction mode, in front of the tests' PostgreSQL.

From PATH; else Debian's package, with the libraries that this machine lacks, fetched by apt into our cache and unpacked
there: that needs neither root nor an installation.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg
import pytest
import sqlalchemy as sa
from orchestrator_operator.local import cache_root
from orchestrator_operator.local.locking import locked

from tests.support.fleet import free_port
from tests.support.polling import eventually
from tests.support.postgres import plain_url

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGE = "pgbouncer"
# The package's own libraries beyond libc; those that the machine has are not fetched.
_LIBRARIES = {
    "libcares.so.2": "libc-ares2",
    "libevent-2.1.so.7": "libevent-2.1-7",
    "libpam.so.0": "libpam0g",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "libsystemd.so.0": "libsystemd0",
    "libaudit.so.1": "libaudit1",
    "libcap-ng.so.0": "libcap-ng0",
    "libcap.so.2": "libcap2",
    "libgcrypt.so.20": "libgcrypt20",
    "libgpg-error.so.0": "libgpg-error0",
    "liblzma.so.5": "liblzma5",
    "libzstd.so.1": "libzstd1",
    "liblz4.so.1": "liblz4-1",
}
_UNPRIVILEGED = "nobody"  # PgBouncer refuses to run as root


@dataclass(frozen=True, slots=True)
class Program:
    """How to start it: the binary, and where the libraries are that the system lacks."""

    path: Path
    libraries: Path | None = None

    def environment(self) -> dict[str, str]:
        if self.libraries is None:
            return dict(os.environ)
        return os.environ | {"LD_LIBRARY_PATH": str(self.libraries)}


def program() -> Program:
    """A PgBouncer of this machine, or the one of our cache; skips the test where none can be had."""
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    installed = shutil.which(_PACKAGE, path=folders)
    if installed is not None:
        return Program(Path(installed))
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("no pgbouncer on PATH, and no apt to fetch Debian's: install pgbouncer")
    root = cache_root() / "tests"
    with locked(root / "pgbouncer.lock", timeout=300):
        try:
            return _fetched(root / "pgbouncer")
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout or "").strip().splitlines()
            pytest.skip(f"no pgbouncer on PATH, and apt cannot fetch it: {' '.join(said[-2:])}")


def _fetched(cache: Path) -> Program:
    """Debian's package in `<cache>/<version>`; complete when `done` is in there."""
    candidate = _candidate()
    if candidate is None:
        _apt(cache, "update")
        candidate = _candidate(cache)
    folder = cache / (candidate or "unknown").replace(":", "-")
    binary, libraries = folder / "usr" / "sbin" / _PACKAGE, folder / "libraries"
    if (folder / "done").exists():
        return Program(binary, libraries)
    shutil.rmtree(folder, ignore_errors=True)
    libraries.mkdir(parents=True)
    _unpack(cache, [_PACKAGE], folder)
    before: list[str] = []
    while missing := _missing(binary, libraries):
        unknown = [name for name in missing if name not in _LIBRARIES or name in before]
        if unknown:
            pytest.skip(f"Debian's pgbouncer needs libraries that nobody told us the packages of: {unknown}")
        before = missing
        _unpack(cache, sorted({_LIBRARIES[name] for name in missing}), folder)
        for library in folder.rglob("lib*.so.*"):
            if library.parent != libraries and not (libraries / library.name).exists():
                shutil.copy(library, libraries)
    (folder / "done").touch()
    return Program(binary, libraries)


def _missing(binary: Path, libraries: Path) -> list[str]:
    said = subprocess.run(
        ["ldd", str(binary)],
        env=os.environ | {"LD_LIBRARY_PATH": str(libraries)},
        capture_output=True,
        text=True,
        check=True,
    )
    return re.findall(r"(\S+) => not found", said.stdout)


def _candidate(cache: Path | None = None) -> str | None:
    """The version that apt would install; None where it knows none (its lists were removed, as images do)."""
    said = subprocess.run(
        ["apt-cache", *_options(cache), "policy", _PACKAGE], capture_output=True, text=True, check=False
    )
    found = re.search(r"Candidate: (\S+)", said.stdout)
    return None if found is None or found[1] == "(none)" else found[1]


def _unpack(cache: Path, packages: Sequence[str], folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="orchestrator-apt-") as scratch:
        Path(scratch).chmod(0o755)
        try:
            _apt(None, "download", *packages, where=scratch)
        except subprocess.CalledProcessError:
            # The machine's lists are missing or old: our own.
            _apt(cache, "update")
            _apt(cache, "download", *packages, where=scratch)
        for package in Path(scratch).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True, capture_output=True, text=True)


def _apt(cache: Path | None, *arguments: str, where: str | None = None) -> None:
    command = ["apt-get", "--quiet", *_options(cache), *arguments]
    # An update that fails shows in the download after it; its hooks may fail where the system is not ours.
    check = arguments[0] != "update"
    subprocess.run(command, cwd=where, check=check, capture_output=True, text=True, timeout=300)


def _options(cache: Path | None) -> list[str]:
    """Apt's lists in a folder of our own, so that no right to change the system's is needed."""
    if cache is None:
        return []
    lists = cache / "apt"
    (lists / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (lists / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={lists / 'lists'}", "-o", f"Dir::Cache={lists}", "-o", "APT::Sandbox::User=root"]


class PgBouncer:
    """One in transaction mode on 127.0.0.1, with few connections to the server. Use it in a `with`."""

    def __init__(self, server: str, connections: int = 4) -> None:
        self._program = program()
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
        command = [str(self._program.path), str(settings)]
        environment = self._program.environment()
        root = os.geteuid() == 0
        if root:
            # The cache may lie in a folder that is closed to everybody else.
            command[0] = str(shutil.copy(self._program.path, self._folder))
            if self._program.libraries is not None:
                shutil.copytree(self._program.libraries, self._folder / "lib")
                environment["LD_LIBRARY_PATH"] = str(self._folder / "lib")
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                user=pwd.getpwnam(_UNPRIVILEGED).pw_uid if root else None,
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
