"""What the door does not let in: each refusal names its field, says what to do, and accepts nothing."""

from __future__ import annotations

import asyncio
import gzip
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import structlog

from orchestrator.cli import logs
from orchestrator.door import openapi
from orchestrator.door.problems import PATH
from orchestrator.store import Filter
from orchestrator.telemetry import DOOR_REQUESTS
from orchestrator.testing import FakeClock, MemoryStore
from tests.support.doors import TOKEN, document, open_door
from tests.support.stores import CHAIN, START, workflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orchestrator.store import Store
    from tests.support.doors import OpenDoor

NEEDS_N = {"input": {"schema": {"type": "object", "required": ["n"]}}, **CHAIN}
FLOWS = [workflow(CHAIN, name="chain"), workflow(NEEDS_N, name="needs-n")]
ORDER = {"workflow": "chain", "input": {"n": 1}}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest_asyncio.fixture
async def there(store: Store, tmp_path: Path) -> AsyncIterator[OpenDoor]:
    async with open_door(store, FakeClock(START), tmp_path, *FLOWS) as opened:
        yield opened


async def count(store: Store) -> int:
    return len(await store.executions(Filter()))


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        (b"", 400, ["body"]),
        (b"\xff", 400, ["body"]),
        (b"[]", 400, ["body"]),
        (b'{"workflow": "chain", "workflow": "asleep"}', 400, ["body"]),
        (b'{"workflow": "chain", "input": {"n": NaN}}', 400, ["body"]),
        (b'{"workflow": "chain", "input": {"a":' + b"[" * 70 + b"]" * 70 + b"}}", 400, None),
        (b'{"workflow": "chain", "input": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", 400, ["body"]),
        (b'{"workflow": "chain", "input": {"n": 9223372036854775808}}', 400, ["input.n"]),
        (b'{"workflow": "chain", "input": {"n": ' + b"9" * 5000 + b"}}", 400, ["body"]),
        (b'{"workflow": "chain", "input": {"n": "\\u0000"}}', 400, ["input.n"]),
        (b'{"workflow": "chain", "input": {"n": "\\ud800"}}', 400, ["input.n"]),
        ({}, 400, ["workflow"]),
        ({"workflow": 7, "engine": "v3"}, 400, ["workflow", "engine"]),
        ({"workflow": "chain", "input": [1]}, 400, ["input"]),
        ({"workflow": "chain", "inptu": {}}, 400, ["inptu"]),
        ({"workflow": "chain", "idempotency_key": "k"}, 400, ["idempotency_key"]),
        ({"workflow": "chain", "idempotencyKey": ""}, 400, ["idempotencyKey"]),
        ({"workflow": "chain", "routingKey": "k" * 257}, 400, ["routingKey"]),
        ({"workflow": "nowhere"}, 422, ["workflow"]),
        ({"workflow": "needs-n"}, 422, ["input.n"]),
        ({"workflow": "chain", "input": {"n": "x" * 300_000}}, 422, ["input"]),
        (b'{"workflow": "chain", "input": {"n": "' + b"x" * (1 << 20) + b'"}}', 413, ["body"]),
    ],
)
async def test_what_cannot_be_run_is_refused_by_the_fields_name(
    store: Store, there: OpenDoor, body: Any, status: int, fields: list[str] | None
) -> None:
    answer = await there.caller.execute(body)
    assert (answer.status, answer.fields if fields else None) == (status, fields)
    assert all(error["message"] for error in answer.body["errors"])
    assert await count(store) == 0


@pytest.mark.parametrize("wait", ["soon", "-1", "61", "2m", "1e9", "inf"])
async def test_a_wait_that_is_none_or_too_long_is_refused(store: Store, there: OpenDoor, wait: str) -> None:
    answer = await there.caller.execute(ORDER, wait=wait)
    assert (answer.status, answer.fields, await count(store)) == (400, ["wait"], 0)


async def test_a_query_that_nobody_reads_is_refused(store: Store, there: OpenDoor) -> None:
    answer = await there.caller.send("POST", f"{PATH}?await=3", data=b"{}")
    assert (answer.status, answer.fields, await count(store)) == (400, ["await"], 0)


@pytest.mark.parametrize("header", ["", "k" * 257, '"k'])
async def test_a_header_that_is_no_key_is_refused(store: Store, there: OpenDoor, header: str) -> None:
    answer = await there.caller.execute(ORDER, Idempotency_Key=header)
    assert (answer.status, answer.fields, await count(store)) == (400, ["Idempotency-Key"], 0)


async def test_two_keys_are_refused(store: Store, there: OpenDoor) -> None:
    answer = await there.caller.execute(ORDER | {"idempotencyKey": "a"}, Idempotency_Key="b")
    assert (answer.status, answer.fields, await count(store)) == (400, ["Idempotency-Key"], 0)


@pytest.mark.parametrize("name", ["Idempotency-Key", "Authorization"])
@pytest.mark.parametrize("second", ["another", "the same"])
async def test_a_header_that_is_sent_twice_is_refused(store: Store, there: OpenDoor, name: str, second: str) -> None:
    first = f"Bearer {TOKEN}" if name == "Authorization" else "k"
    headers = [("Authorization", f"Bearer {TOKEN}"), ("Idempotency-Key", "k")]
    headers.append((name, first if second == "the same" else "k2"))
    async with there.caller.session.post(there.caller.url + PATH, json=ORDER, headers=headers) as response:
        told = await response.json()
    assert (response.status, [error["field"] for error in told["errors"]]) == (400, [name])
    assert "is sent 2 times: send it once" in told["detail"]
    assert await count(store) == 0


@pytest.mark.parametrize(("method", "path"), [("POST", PATH), ("GET", f"{PATH}/x1")])
async def test_a_wait_that_is_sent_twice_is_refused(store: Store, there: OpenDoor, method: str, path: str) -> None:
    answer = await there.caller.send(method, f"{path}?wait=1s&wait=2s", data=b'{"workflow": "chain"}')
    assert (answer.status, answer.fields, await count(store)) == (400, ["wait"], 0)


@pytest.mark.parametrize(("method", "path", "status"), [("PUT", PATH, 405), ("POST", "/functions/v1/other", 404)])
async def test_other_doors_are_told_where_this_one_is(there: OpenDoor, method: str, path: str, status: int) -> None:
    answer = await there.caller.send(method, path)
    assert (answer.status, PATH in answer.body["detail"]) == (status, True)


async def test_a_body_that_never_comes_is_given_up(store: Store, tmp_path: Path) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with open_door(store, FakeClock(START), tmp_path, *FLOWS, reading=timedelta(seconds=0.1)) as there:
        answer = await there.caller.send("POST", PATH, data=never())
    assert (answer.status, answer.fields) == (408, ["body"])


async def test_requests_at_once_are_counted_before_their_bodies_have_come(store: Store, tmp_path: Path) -> None:
    go = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"workflow": '
        await go.wait()
        yield b'"chain"}'

    async with open_door(store, FakeClock(START), tmp_path, *FLOWS, accepting=1) as there:
        first = asyncio.create_task(there.caller.send("POST", PATH, data=slow()))
        while not there.door.service.at_once:
            await asyncio.sleep(0)
        refused = await there.caller.execute(ORDER)
        go.set()
        assert ((await first).status, (await there.caller.execute(ORDER)).status) == (202, 202)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert "too many requests at once" in refused.body["detail"]
    assert await count(store) == 2


async def test_what_is_being_accepted_counts_although_its_caller_has_gone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_door(store, FakeClock(START), tmp_path, *FLOWS, accepting=1) as there:
        arrived, go = there.hold(monkeypatch)
        gone = asyncio.create_task(there.caller.execute(ORDER))
        await arrived.wait()
        gone.cancel()
        await asyncio.wait([gone])
        assert (await there.caller.execute(ORDER)).status == 429
        go.set()
        async with asyncio.timeout(20):
            while there.door.service.at_once:
                await asyncio.sleep(0.01)
        assert (await there.caller.execute(ORDER)).status == 202
    assert await count(store) == 2


async def test_those_who_wait_for_an_end_are_not_being_accepted(store: Store, tmp_path: Path) -> None:
    async with open_door(store, FakeClock(START), tmp_path, *FLOWS, accepting=1) as there:
        waiting = asyncio.create_task(there.caller.execute(ORDER, wait=""))
        while not there.door.service.waits.waiting:
            await asyncio.sleep(0)
        assert (await there.caller.execute(ORDER)).status == 202
        await there.door.aclose()
        assert (await waiting).status == 202


async def test_a_retry_that_is_refused_under_pressure_is_not_told_that_it_was_never_accepted(
    store: Store, tmp_path: Path
) -> None:
    """The first answer may have been lost: only this request is known to have made nothing."""
    async with open_door(store, FakeClock(START), tmp_path, *FLOWS, backlog=1) as there:
        order = ORDER | {"idempotencyKey": "k"}
        assert (await there.caller.execute(order)).status == 202
        refused = await there.caller.execute(order)
    assert refused.status == 429
    assert "nothing new was accepted, and the same key may be asked again" in refused.body["detail"]


async def test_a_bomb_is_not_unpacked_beyond_the_limit(store: Store, there: OpenDoor) -> None:
    bomb = gzip.compress(b'{"workflow": "' + b"x" * (64 << 20) + b'"}')
    assert len(bomb) < 1 << 20
    answer = await there.caller.send("POST", PATH, data=bomb, headers={"Content-Encoding": "gzip"})
    assert (answer.status, await count(store)) == (413, 0)


async def test_a_defect_of_ours_tells_nothing_of_the_inside(
    store: Store, there: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: str) -> Any:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(store, "get", broken)
    answer = await there.caller.read("x1")
    assert (answer.status, "of all things" in str(answer.body)) == (500, False)


# -- who may come in


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \u00e9",
    ],
)
async def test_without_a_known_token_nobody_comes_in(store: Store, there: OpenDoor, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with there.caller.session.post(there.caller.url + PATH, json=ORDER, headers=headers) as response:
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await response.json())["errors"][0]["field"] == "Authorization"
    assert await count(store) == 0


async def test_the_document_and_the_health_need_no_token(there: OpenDoor) -> None:
    for path, wanted in ((openapi.DOCUMENT, document()), ("/healthz", {"ok": True})):
        async with there.caller.session.get(there.caller.url + path) as response:
            assert (response.status, await response.json()) == (200, wanted)


async def test_tokens_that_cannot_be_read_let_nobody_in(there: OpenDoor, tmp_path: Path) -> None:
    (tmp_path / "tokens").unlink()
    there.door._tokens._read_at = None  # a second has passed
    assert (await there.caller.execute(ORDER)).status == 503


async def test_no_token_is_ever_logged_or_answered(there: OpenDoor, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(verbose=True)
    answers = [await there.caller.execute(ORDER), await there.caller.execute({"workflow": TOKEN})]
    answers.append(await there.caller.execute({TOKEN: 1}))
    structlog.get_logger("anybody").warning("a careless line", token=TOKEN)
    said = capsys.readouterr()
    assert "a careless line" in said.err
    assert TOKEN not in said.out + said.err
    assert [answer.status for answer in answers] == [202, 422, 400]


async def test_requests_are_counted_by_status(there: OpenDoor) -> None:
    before = DOOR_REQUESTS.labels("422")._value.get()
    await there.caller.execute({"workflow": "nowhere"})
    assert DOOR_REQUESTS.labels("422")._value.get() == before + 1
