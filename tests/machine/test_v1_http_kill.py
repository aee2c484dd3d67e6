"""`kill -9` of a worker between a post and its outcome: another one learns the outcome, and nothing is posted again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from orchestrator.engines.v1_http.settings import variable
from orchestrator.model import Engine, Status
from tests.support.engine import ended
from tests.support.legacy import Legacy, LegacyTable, Request, call_back
from tests.support.ports import free_port
from tests.support.stores import submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.store import Store
    from tests.support.postgres import LocalPostgres

    Start = Callable[[dict[str, str]], subprocess.Popen[bytes]]

ROOT = Path(__file__).parents[2]
IDS = [f"x{i}" for i in range(10)]


@pytest.fixture
def start(database: str, tmp_path: Path) -> Iterator[Start]:
    """Starts real worker processes with V1 behind HTTP, and ends what is left of them."""
    processes = []

    def begin(settings: dict[str, str]) -> subprocess.Popen[bytes]:
        given = {variable(name): value for name, value in settings.items()}
        environment = os.environ | given | {"ORCHESTRATOR_V1": "http", "ORCHESTRATOR_LEASE": "1s"}
        command = [sys.executable, "-m", "orchestrator.cli.main", "worker", "--database", database, "--until-idle"]
        process = subprocess.Popen(command, env=environment | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path)
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def table(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> LegacyTable:
    if database.startswith("sqlite"):
        return LegacyTable(f"sqlite:///{tmp_path / 'legacy.db'}")
    postgres: LocalPostgres = request.getfixturevalue("postgres")
    return LegacyTable(postgres.create_database())


async def submit(store: Store) -> None:
    await store.submit([submission(id_, engine=Engine.V1) for id_ in IDS], datetime.now(UTC))


async def killed_between_post_and_outcome(legacy: Legacy, worker: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(60):
        await legacy.posted(len(IDS))
    worker.send_signal(signal.SIGKILL)
    worker.wait()


async def check(store: Store, legacy: Legacy, worker: subprocess.Popen[bytes]) -> None:
    """Everything is over by the outcomes that were said, posted once, and the worker that waits until idle ends."""
    records = await ended(store, IDS, within=60)
    assert [(record.status, record.output) for record in records] == [(Status.SUCCESS, id_) for id_ in IDS]
    assert sorted(post.id for post in legacy.posts) == sorted(IDS)
    assert await asyncio.to_thread(worker.wait, 60) == 0


# A process start is dear, and tests/contract holds both stores to the same: each of them is killed on once.
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_the_next_worker_reads_the_outcomes_in_the_table(store: Store, start: Start, table: LegacyTable) -> None:
    async with Legacy() as legacy:
        settings = {"url": legacy.url()} | table.settings()
        await submit(store)
        await killed_between_post_and_outcome(legacy, start(settings))
        for id_ in IDS:
            table.put(id=id_, status="success", output=id_)
        await check(store, legacy, start(settings))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_the_next_worker_hears_the_calls(store: Store, start: Start, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s" * 40)
    listen = f"127.0.0.1:{free_port()}"
    settings = {
        "outcome": "callback",
        "callback_url": f"http://{listen}/v1",
        "callback_listen": listen,
        "callback_secret_file": str(tmp_path / "secret"),
    }
    async with Legacy() as legacy:
        settings["url"] = legacy.url()
        await submit(store)
        await killed_between_post_and_outcome(legacy, start(settings))
        worker = start(settings)
        await asyncio.gather(*(called_until_heard(post) for post in legacy.posts))
        await check(store, legacy, worker)


async def called_until_heard(post: Request) -> None:
    """As the legacy engine has to: nobody listens while no worker is there."""
    async with asyncio.timeout(60):
        while True:
            try:
                answer = await call_back(post, {"status": "success", "output": post.id})
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            else:
                assert answer.json() == {"accepted": True}
                return
