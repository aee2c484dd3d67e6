"""Calls of the legacy engine, over real HTTP: authenticated first, read, passed on, answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from orchestrator.engines.v1_http.callback import CallbackServer, invitation
from orchestrator.engines.v1_http.credentials import CallbackTokens, TokenFile
from orchestrator.engines.v1_http.reports import Report
from orchestrator.engines.v1_http.words import Words
from orchestrator.errors import InvalidInput, OrchestratorError, StoreUnavailable, UnknownExecution
from orchestrator.masks import MASKS
from orchestrator.model import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    Client = TestClient[web.Request, web.Application]

OLD, NEW = "old-" + "s" * 40, "new-" + "s" * 40


class Book:
    """What was passed on; `answer` is what becomes of it."""

    def __init__(self) -> None:
        self.learned: list[tuple[str, Report]] = []
        self.answer: bool | Exception = True

    async def learn(self, execution_id: str, report: Report) -> bool:
        self.learned.append((execution_id, report))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def tokens(tmp_path: Path) -> CallbackTokens:
    path = tmp_path / "secret"
    path.write_text(f"{NEW}\n\n{OLD}\n")
    return CallbackTokens(str(path))


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
async def server(tokens: CallbackTokens, book: Book) -> AsyncIterator[Client]:
    async with TestClient(TestServer(CallbackServer(tokens, Words(), book.learn).application())) as client:
        yield client


async def call(server: Client, token: str | None, path: str = "/v1/x1", **body: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with server.post(path, headers=headers, **(body or {"json": {"status": "success"}})) as response:
        return response.status, await response.json()


async def test_a_call_is_passed_on(server: Client, tokens: CallbackTokens, book: Book) -> None:
    assert await call(server, tokens.make("x1")) == (200, {"accepted": True})
    assert book.learned == [("x1", Report(Status.SUCCESS))]


@pytest.mark.parametrize("path", ["/x1", "/a/b/c/x1", "/x1?try=2"])
async def test_what_stands_before_the_id_does_not_matter(
    server: Client, tokens: CallbackTokens, book: Book, path: str
) -> None:
    assert (await call(server, tokens.make("x1"), path))[0] == 200


async def test_an_id_is_quoted_in_the_url_and_understood_again(
    server: Client, tokens: CallbackTokens, book: Book
) -> None:
    told = invitation("https://workers.example/v1/", "a b:ü", tokens)
    assert told["url"] == "https://workers.example/v1/a%20b%3A%C3%BC"
    assert (await call(server, told["token"], "/v1/a%20b%3A%C3%BC"))[0] == 200
    assert book.learned[0][0] == "a b:ü"


@pytest.mark.parametrize("token", [None, "", "0" * 64, "ü", "x" * 5000])
async def test_a_forged_call_is_not_passed_on(server: Client, book: Book, token: str | None) -> None:
    status, said = await call(server, token)
    assert (status, said["field"], book.learned) == (401, "Authorization", [])


async def test_one_executions_token_does_not_open_another(server: Client, tokens: CallbackTokens, book: Book) -> None:
    assert (await call(server, tokens.make("x2")))[0] == 401
    assert book.learned == []


async def test_a_token_is_checked_before_the_body(server: Client, book: Book) -> None:
    assert (await call(server, "0" * 64, data=b"{"))[0] == 401


async def test_a_token_of_the_secret_before_is_still_accepted(server: Client, tmp_path: Path) -> None:
    (tmp_path / "old").write_text(OLD)
    assert (await call(server, CallbackTokens(str(tmp_path / "old")).make("x1")))[0] == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"data": b"{"}, "$"),
        ({"data": b'{"status": "success", "output": NaN}'}, "$"),
        ({"data": b"\xff"}, "$"),
        ({"data": b"[" * 100_000}, "$"),
        ({"json": ["success"]}, "$"),
        ({"json": {}}, "status"),
        ({"json": {"status": "purple"}}, "status"),
        ({"json": {"status": "success", "ouput": 1}}, "ouput"),
        ({"json": {"status": "success", "id": "x2"}}, "id"),
    ],
)
async def test_a_call_that_cannot_be_read_names_the_field(
    server: Client, tokens: CallbackTokens, book: Book, body: dict[str, Any], field: str
) -> None:
    status, said = await call(server, tokens.make("x1"), **body)
    assert (status, said["field"], book.learned) == (400, field, [])


async def test_a_call_that_is_too_large_is_refused(server: Client, tokens: CallbackTokens, book: Book) -> None:
    headers = {"Authorization": f"Bearer {tokens.make('x1')}"}
    async with server.post("/x1", json={"status": "success", "output": "x" * (2 << 20)}, headers=headers) as response:
        assert response.status == 413
    assert book.learned == []


@pytest.mark.parametrize(
    ("error", "status"), [(UnknownExecution("none"), 404), (StoreUnavailable("postgresql://me:pw@db is away"), 503)]
)
async def test_what_could_not_be_kept_says_what_to_do(
    server: Client, tokens: CallbackTokens, book: Book, error: OrchestratorError, status: int
) -> None:
    book.answer = error
    found, said = await call(server, tokens.make("x1"))
    assert (found, "pw" in str(said)) == (status, False)


async def test_a_port_that_is_taken_is_told(tokens: CallbackTokens, book: Book) -> None:
    async with await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0) as taken:
        listen = f"127.0.0.1:{taken.sockets[0].getsockname()[1]}"
        with pytest.raises(OrchestratorError, match=f"ORCHESTRATOR_V1_CALLBACK_LISTEN: cannot listen on {listen}"):
            async with CallbackServer(tokens, Words(), book.learn).listening(listen):
                pass


# -- files


@pytest.mark.parametrize("text", ["", "\n\n", "short", f"{NEW}\nshort"])
def test_a_secret_has_to_be_long(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret").write_text(text)
    with pytest.raises(InvalidInput, match="ORCHESTRATOR_V1_CALLBACK_SECRET_FILE: must hold a secret of at least 32"):
        CallbackTokens(str(tmp_path / "secret"))


@pytest.mark.parametrize(
    ("header", "text", "sent"),
    [
        ("Authorization", "abcdefgh\n", "Bearer abcdefgh"),
        ("Authorization", "Basic YWJjZGVm", "Basic YWJjZGVm"),
        ("apikey", "abcdefgh", "abcdefgh"),
    ],
)
def test_a_token_is_sent_as_its_header_wants_it(tmp_path: Path, header: str, text: str, sent: str) -> None:
    (tmp_path / "token").write_text(text)
    assert TokenFile(str(tmp_path / "token"), header).headers() == {header: sent}


def test_a_token_that_was_rotated_is_sent_next_and_both_are_masked(tmp_path: Path) -> None:
    file = TokenFile(str(tmp_path / "token"), "Authorization")
    for token in ("canary-one-token", "canary-two-token"):
        (tmp_path / "token").write_text(token)
        assert file.headers() == {"Authorization": f"Bearer {token}"}
    assert "canary" not in MASKS.text("canary-one-token and canary-two-token")


@pytest.mark.parametrize("text", ["", "short", "two lines\nare wrong", "tökentöken"])
def test_a_token_that_cannot_be_sent_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(InvalidInput, match="ORCHESTRATOR_V1_TOKEN_FILE"):
        TokenFile(str(tmp_path / "token"), "Authorization").headers()
