"""V1 behind HTTP, with a real endpoint, real tables and real calls: an execution is posted once, and its outcome is
what the legacy engine says, whichever way it says it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from orchestrator.model import Engine, Failure, Status
from orchestrator.store import Control, ExecutionRecord, Store
from orchestrator.worker import WorkerSettings
from tests.support.engine import ended
from tests.support.legacy import Legacy, LegacyTable, Request, call_back, read, until, working_with
from tests.support.ports import free_port
from tests.support.stores import submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.postgres import LocalPostgres

QUICK = WorkerSettings(
    poll=timedelta(milliseconds=20), lease=timedelta(milliseconds=600), drain=timedelta(0), engines=(Engine.V1,)
)
SECRET = "s" * 40


def now() -> datetime:
    return datetime.now(UTC)


async def submit(store: Store, *ids: str, **changes: Any) -> None:
    await store.submit([submission(id_, engine=Engine.V1, **changes) for id_ in ids], now())


async def record_of(store: Store, id_: str) -> ExecutionRecord:
    record = await store.get(id_)
    assert record is not None
    return record


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"orchestrator_executions_{name}", {"engine": "v1"} | labels) or 0


@pytest.fixture
async def legacy() -> AsyncIterator[Legacy]:
    async with Legacy() as endpoint:
        yield endpoint


@pytest.fixture
def table(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> LegacyTable:
    if database.startswith("sqlite"):
        return LegacyTable(f"sqlite:///{tmp_path / 'legacy.db'}")
    postgres: LocalPostgres = request.getfixturevalue("postgres")
    return LegacyTable(postgres.create_database())


@pytest.fixture
def callback(tmp_path: Path) -> dict[str, str]:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    listen = f"127.0.0.1:{free_port()}"
    return {
        "outcome": "callback",
        "callback_url": f"http://{listen}/v1",
        "callback_listen": listen,
        "callback_secret_file": str(secret),
    }


# -- the post


async def test_a_post_carries_id_workflow_input_and_key(store: Store, legacy: Legacy, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("canary-token\n")
    legacy.answer = lambda _: web.json_response({"n": 2})
    settings = read(legacy.url(), outcome="response", token_file=str(tmp_path / "token"))
    async with working_with(store, settings, QUICK):
        await submit(store, "x1", input={"n": 1})
        (record,) = await ended(store, ["x1"])
    (post,) = legacy.posts
    assert post.body == {"id": "x1", "workflow": "default/chain", "input": {"n": 1}}
    assert post.headers["Idempotency-Key"] == "x1"
    assert post.headers["X-Orchestrator-Engine"] == "v1"
    assert post.headers["Authorization"] == "Bearer canary-token"
    assert (record.status, record.output, record.done) == (Status.SUCCESS, {"n": 2}, record.total)


async def test_a_refused_connection_is_tried_again_since_nothing_was_sent(store: Store, legacy: Legacy) -> None:
    port = free_port()
    legacy.answer = lambda _: web.json_response("late")
    async with working_with(store, read(f"http://127.0.0.1:{port}/execute", outcome="response"), QUICK):
        await submit(store, "x1")
        await until_running(store, "x1")
        forward = await asyncio.start_server(pipe_to(legacy), "127.0.0.1", port)
        async with forward:
            (record,) = await ended(store, ["x1"])
    assert (record.status, record.output, len(legacy.posts)) == (Status.SUCCESS, "late", 1)


@pytest.mark.parametrize("outcome", ["response", "table"])
async def test_a_post_that_may_have_arrived_is_never_repeated(
    store: Store, legacy: Legacy, table: LegacyTable, outcome: str
) -> None:
    def started_and_gone(request: Request) -> web.StreamResponse:
        table.put(id=request.id, status="completed", output={"ran": True})
        return NoAnswer()

    legacy.answer = started_and_gone
    settings = read(legacy.url(), **(table.settings() | {"outcome": outcome}))
    async with working_with(store, settings, QUICK):
        await submit(store, "x1")
        (record,) = await ended(store, ["x1"])
    assert len(legacy.posts) == 1
    if outcome == "table":  # the row tells what the connection did not
        assert (record.status, record.output) == (Status.SUCCESS, {"ran": True})
    else:
        assert record.failure is not None
        assert (record.failure.kind, "nobody knows" in record.failure.message) == ("ConnectionError", True)


async def test_a_redirect_is_not_followed(store: Store, legacy: Legacy) -> None:
    async with Legacy(answer=lambda _: web.json_response("stolen")) as other:
        target = other.url()
        legacy.answer = lambda _: web.Response(status=307, headers={"Location": f"{target}?key=1"})
        async with working_with(store, read(legacy.url(), outcome="response"), QUICK):
            await submit(store, "x1")
            (record,) = await ended(store, ["x1"])
        assert other.posts == []
    assert record.failure is not None
    assert record.failure.kind == "HttpStatus"
    assert f"{target}; no redirect is followed" in record.failure.message


async def test_an_answer_that_is_too_large_fails_the_execution(store: Store, legacy: Legacy) -> None:
    legacy.answer = lambda _: web.Response(body=b"x" * (2 << 20))
    async with working_with(store, read(legacy.url(), outcome="response"), QUICK):
        await submit(store, "x1")
        (record,) = await ended(store, ["x1"])
    assert record.failure is not None
    assert (record.status, record.failure.kind) == (Status.FAILED, "ResponseTooLarge")


async def test_the_token_is_in_nothing_that_is_kept(store: Store, legacy: Legacy, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("canary-token")

    def echoing(request: Request) -> web.Response:
        said = request.headers["Authorization"]
        return web.json_response({"said": said}) if request.id == "x1" else web.Response(status=401, text=said)

    legacy.answer = echoing
    settings = read(legacy.url(), outcome="response", token_file=str(tmp_path / "token"))
    async with working_with(store, settings, QUICK):
        await submit(store, "x1", "x2")
        records = await ended(store, ["x1", "x2"])
    kept = f"{records} {await store.edge_logs(records[0].created_at)}"
    assert "***" in kept
    assert "canary-token" not in kept


# -- response


async def test_a_failure_is_told_in_the_log_and_counted(store: Store, legacy: Legacy) -> None:
    legacy.answer = lambda _: web.json_response({"status": "failed", "error": {"kind": "Stock", "message": "none"}})
    before = {word: counted("finished_total", status=word) for word in ("failed", "success")}
    started, took = counted("started_total"), counted_durations()
    async with working_with(store, read(legacy.url(), outcome="response", response_status="status"), QUICK):
        await submit(store, "x1")
        (record,) = await ended(store, ["x1"])
        lines = await until_logged(store, "ERROR")
    assert record.failure == Failure("V1Failed", "Stock: none")
    assert lines == ["ERROR execution x1: Stock: none"]
    assert (counted("started_total"), counted_durations()) == (started + 1, took + 1)
    assert counted("finished_total", status="failed") == before["failed"] + 1
    assert counted("finished_total", status="success") == before["success"]


@pytest.mark.parametrize("outcome", ["response", "table", "callback"])
async def test_what_has_no_outcome_in_time_has_failed(
    store: Store, legacy: Legacy, table: LegacyTable, callback: dict[str, str], outcome: str
) -> None:
    further = {"response": {"outcome": "response"}, "table": table.settings(), "callback": callback}[outcome]
    hold = asyncio.Event()

    async def silent(_: Request) -> web.Response:
        await hold.wait()
        return web.Response()

    legacy.answer = silent
    async with working_with(store, read(legacy.url(), timeout="300ms", **further), QUICK):
        await submit(store, "x1")
        (record,) = await ended(store, ["x1"])
        hold.set()
    assert record.failure is not None
    assert (record.status, record.failure.kind) == (Status.FAILED, "V1Timeout")


async def test_an_output_that_the_store_cannot_keep_is_a_failure(store: Store, legacy: Legacy) -> None:
    legacy.answer = lambda _: web.Response(text='{"a": "\\u0000"}', content_type="application/json")
    async with working_with(store, read(legacy.url(), outcome="response"), QUICK):
        await submit(store, "x1")
        (record,) = await ended(store, ["x1"])
    assert record.failure is not None
    assert (record.status, record.failure.kind) == (Status.FAILED, "InvalidPayload")


# -- table


async def test_the_row_of_the_table_is_the_outcome(store: Store, legacy: Legacy, table: LegacyTable) -> None:
    ids = ["good", "bad", "stopped"]
    async with working_with(store, read(legacy.url(), **table.settings()), QUICK):
        await submit(store, *ids)
        await legacy.posted(3)
        table.put(id="good", status="RUNNING", current_node_id="b")
        await until_node(store, "good", "b")
        table.change("good", status="Completed", output={"n": [1, "ü"]})
        table.put(id="bad", status="error", error="no stock")
        table.put(id="stopped", status="canceled")
        good, bad, stopped = await ended(store, ids)
    assert (good.status, good.output, good.current_node) == (Status.SUCCESS, {"n": [1, "ü"]}, "b")
    assert (bad.status, bad.failure) == (Status.FAILED, Failure("V1Failed", "no stock"))
    assert stopped.status is Status.CANCELLED


async def test_a_refused_post_is_not_waited_for(store: Store, legacy: Legacy, table: LegacyTable) -> None:
    legacy.answer = lambda _: web.json_response({"error": "no such workflow"}, status=404)
    async with working_with(store, read(legacy.url(), **table.settings()), QUICK):
        await submit(store, "x1")
        (record,) = await ended(store, ["x1"])
    assert record.failure is not None
    assert (record.failure.kind, "no such workflow" in record.failure.message) == ("HttpStatus", True)


async def test_after_a_gateways_error_the_table_has_the_last_word(
    store: Store, legacy: Legacy, table: LegacyTable
) -> None:
    legacy.answer = lambda _: web.Response(status=504)
    async with working_with(store, read(legacy.url(), **table.settings()), QUICK):
        await submit(store, "x1")
        await legacy.posted()
        table.put(id="x1", status="success")
        (record,) = await ended(store, ["x1"])
    assert record.status is Status.SUCCESS


async def test_a_word_that_nobody_told_us_is_waited_out(store: Store, legacy: Legacy, table: LegacyTable) -> None:
    async with working_with(store, read(legacy.url(), timeout="500ms", **table.settings()), QUICK):
        await submit(store, "x1")
        table.put(id="x1", status="purple")
        (record,) = await ended(store, ["x1"])
    assert record.failure is not None
    assert record.failure.kind == "V1Timeout"
    assert "'purple' is a word that nobody told us: add it to ORCHESTRATOR_V1_STATUSES" in record.failure.message


async def test_a_database_that_was_away_is_read_again(legacy: Legacy, postgres: LocalPostgres, tmp_path: Path) -> None:
    from orchestrator.store import open_store

    store = await open_store(f"sqlite:///{tmp_path / 'store.db'}")
    table = LegacyTable(postgres.create_database())
    try:
        async with working_with(store, read(legacy.url(), **table.settings()), QUICK):
            await submit(store, "x1")
            await legacy.posted()
            await asyncio.to_thread(postgres.kill)
            await asyncio.to_thread(postgres.start)
            await asyncio.to_thread(table.put, id="x1", status="success")
            (record,) = await ended(store, ["x1"])
    finally:
        await store.close()
    assert record.status is Status.SUCCESS


# -- callback


async def test_a_call_is_the_outcome(store: Store, legacy: Legacy, callback: dict[str, str]) -> None:
    async with working_with(store, read(legacy.url(), **callback), QUICK):
        await submit(store, "x1")
        await legacy.posted()
        (post,) = legacy.posts
        moved = await call_back(post, {"status": "running", "node": "b"})
        await until_node(store, "x1", "b")
        over = await call_back(post, {"id": "x1", "status": "success", "output": {"n": 1}})
        record = await record_of(store, "x1")  # durable before it was answered
    assert [answer.json() for answer in (moved, over)] == [{"accepted": True}] * 2
    assert (record.status, record.output, record.current_node) == (Status.SUCCESS, {"n": 1}, "b")


async def test_a_repeated_call_changes_nothing(store: Store, legacy: Legacy, callback: dict[str, str]) -> None:
    async with working_with(store, read(legacy.url(), **callback), QUICK):
        await submit(store, "x1")
        await legacy.posted()
        await call_back(legacy.posts[0], {"status": "success", "output": 1})
        before, finished = await record_of(store, "x1"), counted("finished_total", status="failed")
        answer = await call_back(legacy.posts[0], {"status": "failed", "error": "after all"})
        assert (answer.status_code, answer.json()) == (200, {"accepted": False})
        assert await record_of(store, "x1") == before
    assert counted("finished_total", status="failed") == finished


async def test_a_forged_call_changes_nothing(store: Store, legacy: Legacy, callback: dict[str, str]) -> None:
    async with working_with(store, read(legacy.url(), **callback), QUICK):
        await submit(store, "x1", "x2")
        await legacy.posted(2)
        mine, other = sorted(legacy.posts, key=lambda post: post.id)
        before = await record_of(store, "x1")
        answer = await call_back(mine, {"status": "success"}, token=other.body["callback"]["token"])
        after = await record_of(store, "x1")
        # `version` grows with whatever a reader could see.
        assert (answer.status_code, after.status, after.version) == (401, Status.RUNNING, before.version)


async def test_the_callbacks_token_is_in_nothing_that_is_kept(
    store: Store, legacy: Legacy, callback: dict[str, str]
) -> None:
    async with working_with(store, read(legacy.url(), **callback), QUICK):
        await submit(store, "x1")
        await legacy.posted()
        await call_back(legacy.posts[0], {"status": "success", "output": legacy.posts[0].body})
        record = await record_of(store, "x1")
    assert (record.output["id"], record.output["callback"]["token"]) == ("x1", "***")


async def test_any_worker_may_be_called(store: Store, legacy: Legacy, callback: dict[str, str]) -> None:
    """Calls go through a load balancer: the worker that posted is rarely the one that is called."""
    other = callback | {"callback_listen": f"127.0.0.1:{free_port()}"}
    idle = WorkerSettings(engines=())
    async with (
        working_with(store, read(legacy.url(), **callback), QUICK),
        working_with(store, read(legacy.url(), **other), idle),
    ):
        await submit(store, "x1")
        await legacy.posted()
        answer = await call_back(legacy.posts[0], {"status": "success"}, url=f"http://{other['callback_listen']}/x1")
        assert answer.json() == {"accepted": True}
        assert (await record_of(store, "x1")).status is Status.SUCCESS


async def test_workers_of_one_machine_share_the_port(store: Store, legacy: Legacy, callback: dict[str, str]) -> None:
    settings = read(legacy.url(), **callback)
    ids = [f"x{i}" for i in range(20)]
    async with working_with(store, settings, QUICK), working_with(store, settings, QUICK):
        await submit(store, *ids)
        await legacy.posted(len(ids))
        answers = await asyncio.gather(*(call_back(post, {"status": "success"}) for post in legacy.posts))
        assert [answer.json() for answer in answers] == [{"accepted": True}] * len(ids)
        assert {record.status for record in await ended(store, ids)} == {Status.SUCCESS}


# -- cancel


async def test_a_cancel_before_the_post_prevents_it(
    store: Store, legacy: Legacy, monkeypatch: pytest.MonkeyPatch
) -> None:
    take: Any = store.watch  # type: ignore[attr-defined]  # every store here keeps watches

    async def cancelled_meanwhile(*args: Any) -> Any:
        watches = await take(*args)
        for watch in watches:
            await store.control(watch.claim.id, Control.CANCEL, now())
        return watches

    monkeypatch.setattr(store, "watch", cancelled_meanwhile)
    async with working_with(store, read(legacy.url(), outcome="response"), QUICK):
        await submit(store, "x1")
        (record,) = await ended(store, ["x1"])
    assert (record.status, legacy.posts) == (Status.CANCELLED, [])


async def test_a_cancel_is_passed_on_and_the_outcome_still_counts(
    store: Store, legacy: Legacy, table: LegacyTable
) -> None:
    settings = read(legacy.url(), cancel_url=legacy.url("/cancel/{id}"), **table.settings())
    async with working_with(store, settings, QUICK):
        await submit(store, "x1")
        await legacy.posted()
        assert await store.control("x1", Control.CANCEL, now())
        await until(lambda: legacy.cancels)
        assert (await record_of(store, "x1")).status is Status.RUNNING
        table.put(id="x1", status="cancelled")
        (record,) = await ended(store, ["x1"])
    (cancel,) = legacy.cancels
    assert (cancel.path, cancel.body) == ("/cancel/x1", {"id": "x1", "workflow": "default/chain"})
    assert record.status is Status.CANCELLED


async def test_a_cancel_that_is_not_heard_is_told(store: Store, legacy: Legacy, table: LegacyTable) -> None:
    settings = read(legacy.url(), cancel_url=legacy.url("/nowhere"), **table.settings())
    async with working_with(store, settings, QUICK):
        await submit(store, "x1")
        await legacy.posted()
        await store.control("x1", Control.CANCEL, now())
        (line,) = await until_logged(store, "ERROR execution x1")
    assert "V1 does not cancel" in line


# -- other workers


@pytest.mark.parametrize("outcome", ["table", "callback"])
async def test_a_drained_worker_lets_go_at_once_and_the_next_one_learns_the_outcome(
    store: Store, legacy: Legacy, table: LegacyTable, callback: dict[str, str], outcome: str
) -> None:
    further = table.settings() if outcome == "table" else callback
    patient = WorkerSettings(poll=timedelta(milliseconds=20), lease=timedelta(minutes=5), engines=(Engine.V1,))
    async with working_with(store, read(legacy.url(), **further), patient):
        await submit(store, "x1")
        await legacy.posted()
        await until_node(store, "x1", "a")
    async with working_with(store, read(legacy.url(), **further), patient):
        if outcome == "table":
            table.put(id="x1", status="success", output=3)
        else:
            await call_back(legacy.posts[0], {"status": "success", "output": 3})
        (record,) = await ended(store, ["x1"])
    assert (record.status, record.output, len(legacy.posts)) == (Status.SUCCESS, 3, 1)


async def test_an_outcome_that_came_while_nobody_watched_counts_after_the_deadline_too(
    store: Store, legacy: Legacy, table: LegacyTable
) -> None:
    settings = read(legacy.url(), timeout="1s", **table.settings(poll="1h"))
    async with working_with(store, settings, QUICK):
        await submit(store, "x1")
        await legacy.posted()
    table.put(id="x1", status="success", output=4)
    deadline = (await record_of(store, "x1")).created_at + timedelta(seconds=1.5)
    while now() < deadline:
        await asyncio.sleep(0.05)
    async with working_with(store, settings, QUICK):
        (record,) = await ended(store, ["x1"])
    assert (record.status, record.output) == (Status.SUCCESS, 4)


async def test_what_was_claimed_and_not_posted_is_posted_by_the_next_worker(
    store: Store, legacy: Legacy, table: LegacyTable
) -> None:
    await submit(store, "x1")
    keeps: Any = store
    (watch,) = await keeps.watch("dead", 1, timedelta(milliseconds=1), timedelta(hours=1), now())
    assert not watch.posted
    async with working_with(store, read(legacy.url(), **table.settings()), QUICK):
        await legacy.posted()
        table.put(id="x1", status="success")
        (record,) = await ended(store, ["x1"])
    assert (record.status, len(legacy.posts)) == (Status.SUCCESS, 1)


async def test_a_lost_answer_is_not_asked_for_again(store: Store, legacy: Legacy) -> None:
    """With `response` the answer is all that there is: who takes over can only wait for the deadline."""
    hold = asyncio.Event()

    async def slow(_: Request) -> web.Response:
        await hold.wait()
        return web.json_response("too late")

    legacy.answer = slow
    settings = read(legacy.url(), outcome="response", timeout="2s")
    async with working_with(store, settings, QUICK):
        await submit(store, "x1")
        await legacy.posted()
    async with working_with(store, settings, QUICK):
        (record,) = await ended(store, ["x1"])
    hold.set()
    assert record.failure is not None
    assert (record.failure.kind, len(legacy.posts)) == ("V1Timeout", 1)
    assert "the worker that waited for the answer ended" in record.failure.message


async def test_two_workers_post_each_execution_once(store: Store, legacy: Legacy) -> None:
    ids = [f"x{i}" for i in range(40)]
    legacy.answer = lambda request: web.json_response(request.id)
    settings = read(legacy.url(), outcome="response")
    async with working_with(store, settings, QUICK), working_with(store, settings, QUICK):
        await submit(store, *ids)
        records = await ended(store, ids)
    assert sorted(post.id for post in legacy.posts) == sorted(ids)
    assert [record.output for record in records] == ids


# -- helpers


async def until_running(store: Store, id_: str) -> None:
    async with asyncio.timeout(20):
        while (await record_of(store, id_)).status is not Status.RUNNING:
            await asyncio.sleep(0.01)


async def until_node(store: Store, id_: str, node: str) -> None:
    async with asyncio.timeout(20):
        while (await record_of(store, id_)).current_node != node:
            await asyncio.sleep(0.01)


async def until_logged(store: Store, text: str) -> list[str]:
    async with asyncio.timeout(20):
        while not (lines := await store.edge_logs(now() - timedelta(hours=1), contains=text)):
            await asyncio.sleep(0.02)
    return [line for _, line in lines]


def counted_durations() -> float:
    return REGISTRY.get_sample_value("orchestrator_execution_duration_seconds_count", {"engine": "v1"}) or 0


def pipe_to(legacy: Legacy) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    """Passes a connection on to the endpoint, which listens elsewhere."""
    url = httpx.URL(legacy.url())

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(url.host, url.port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    return passed


class NoAnswer(web.StreamResponse):
    """The connection ends where an answer should begin."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        assert request.transport is not None
        request.transport.abort()
        return await super().prepare(request)
