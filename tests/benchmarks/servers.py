"""The processes beside the measured one: PostgreSQL as it comes, the HTTP service, Temporal's development server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.temporal_server import binary, tool
from tests.support.ports import free_port
from tests.support.postgres import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator

#: As PostgreSQL comes (a commit is on the disk before it is answered), but for the number of connections, which
#: pgbench with 256 clients needs.
AS_IT_COMES = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "128MB",
    "max_connections": "400",
}
_READY_WITHIN = 60.0  # seconds


def postgres() -> LocalPostgres:
    """A PostgreSQL with its default durability; not started yet."""
    return LocalPostgres(settings=AS_IT_COMES)


@contextmanager
def http_service() -> Iterator[str]:
    """The service that answers after 50 ms; gives its URL."""
    command = [sys.executable, "-m", "tests.benchmarks.http_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield f"http://127.0.0.1:{int(line)}/"
        finally:
            process.terminate()


@contextmanager
def temporal(*, in_memory: bool) -> Iterator[tuple[str, int]]:
    """A fresh development server of Temporal; gives its address and process id."""
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-temporal-"))
    port = free_port()
    command = [str(binary()), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    command += ["--log-level", "error"]
    command += [] if in_memory else ["--db-filename", str(folder / "temporal.db")]
    try:
        with (folder / "server.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                _await_port(port, process, folder / "server.log")
                yield f"127.0.0.1:{port}", process.pid
            finally:
                process.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Temporal's server did not start:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.1)


def temporal_version() -> str:
    """Of the development server, as its go.mod pins it."""
    return tool().version
