"""A worker that is started before its database: it waits, says so, and begins as soon as it can."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from orchestrator.model import Status
from orchestrator.store import open_store
from tests.support.engine import ended, node, spec
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.probes import probe
from tests.support.stores import submission, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.postgres import LocalPostgres

FLOW = workflow(spec(node("only", type_="transform", **{"with": {"value": 1}})))
WORKER = [sys.executable, "-m", "orchestrator.cli.main", "worker"]


@pytest.fixture
def name() -> str:
    return f"late_{os.getpid()}_{free_port()}"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def worker(postgres: LocalPostgres, name: str, port: int, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker on a database that nobody has made yet."""
    command = [*WORKER, "--database", postgres.url(name), "--metrics-port", str(port), "--metrics-address", "127.0.0.1"]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        yield process
        process.send_signal(signal.SIGTERM)


async def health(port: int, wanted: int) -> str:
    """What /healthz says, once it says it with the wanted status."""

    def said() -> str | None:
        answer = probe(port, "/healthz")
        return answer.text if answer is not None and answer.status_code == wanted else None

    return await asyncio.to_thread(eventually, said, f"{wanted} of /healthz", 60)


async def test_a_worker_begins_once_its_database_is_there(
    postgres: LocalPostgres, name: str, port: int, worker: subprocess.Popen[bytes]
) -> None:
    assert "store" in await health(port, 503)
    assert worker.poll() is None
    store = await open_store(postgres.create_database(name))
    try:
        await store.submit([submission("x", workflow=FLOW)], datetime.now(UTC))
        (record,) = await ended(store, ["x"], within=60)
    finally:
        await store.close()
    assert record.status is Status.SUCCESS
    await health(port, 200)


async def test_a_worker_that_waits_for_its_database_ends_when_it_is_told_to(
    port: int, worker: subprocess.Popen[bytes]
) -> None:
    """By a handler of its own: process 1 of a container is not ended by a signal that it has none for."""
    assert "nothing yet" in await health(port, 503)
    worker.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 60) == 0


def test_a_worker_until_idle_fails_where_there_is_no_database(
    postgres: LocalPostgres, name: str, tmp_path: Path
) -> None:
    command = [*WORKER, "--until-idle", "--database", postgres.url(name)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode != 0
    assert f'database "{name}" does not exist' in answer.stderr
