"""What a service can do to a worker: nothing beyond the bytes, redirects and time that a node has."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import socket
import threading
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from orchestrator.model import Node, RetryPolicy
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.http import HttpNode
from orchestrator.nodes.http_with import MAX_BODY
from orchestrator.nodes.runner import NodeRunner
from tests.support.services import Names, Service, failure, ok, redirect, talking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orchestrator.nodes.base import StepContext
    from tests.support.services import Talk

RETRY = RetryPolicy(1, timedelta(0), 1.0, timedelta(0), "none")
HTTP = Node("charge", "http", (), None, {}, RETRY, timedelta(seconds=20))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n"


@pytest.fixture
async def runner() -> AsyncIterator[NodeRunner]:
    async with NodeRunner(allowed=AllowList.parse("127.0.0.0/8")) as opened:
        yield opened


@pytest.fixture
def hurried(context: StepContext) -> StepContext:
    return dataclasses.replace(context, timeout=timedelta(milliseconds=300))


# ---- time: each of these would go on for ever


async def says_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def reads_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
    await asyncio.Event().wait()


async def drips_its_headers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    await drip(writer)


async def drips_its_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"\r\n")
    await drip(writer)


async def drips_an_errors_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD.replace(b"200", b"503") + b"\r\n")
    await drip(writer)


async def drips_chunks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await drip(writer, b"1\r\nx\r\n")


async def goes_on_and_on(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await drip(writer, b"HTTP/1.1 103 Early Hints\r\n\r\n")


async def drip(writer: asyncio.StreamWriter, what: bytes = b"x") -> None:
    while True:
        writer.write(what)
        await writer.drain()
        await asyncio.sleep(0.01)


async def flood(writer: asyncio.StreamWriter, what: bytes) -> None:
    while True:
        writer.write(what)
        await writer.drain()


async def floods_a_chunk_extension(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    await flood(writer, b"y" * 65536)


ENDLESS: list[Talk] = [
    says_nothing,
    reads_nothing,
    drips_its_headers,
    drips_its_body,
    drips_an_errors_body,
    drips_chunks,
    goes_on_and_on,
    floods_a_chunk_extension,
]


@pytest.mark.parametrize("talk", ENDLESS, ids=lambda talk: talk.__name__)
async def test_a_service_that_never_ends_is_left_at_the_nodes_timeout(
    runner: NodeRunner, hurried: StepContext, talk: Talk
) -> None:
    left = asyncio.Event()

    async def until_left(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            left.set()

    async with talking(until_left) as port:
        with_ = {"method": "POST", "url": f"http://127.0.0.1:{port}/x", "body": "x" * (8 << 20)}
        error = await failure(runner.run(HTTP, with_, hurried))
        if talk is not reads_nothing:  # that one would not notice
            await asyncio.wait_for(left.wait(), 20)
    assert (error.kind, error.retryable) == ("Timeout", True)
    assert "took longer than its timeout of 300ms" in error.message


async def test_a_tls_handshake_that_never_ends_is_left_at_the_nodes_timeout(
    runner: NodeRunner, hurried: StepContext
) -> None:
    async with talking(says_nothing) as port:
        error = await failure(runner.run(HTTP, {"url": f"https://127.0.0.1:{port}/x"}, hurried))
    assert (error.kind, error.retryable) == ("Timeout", True)


@asynccontextmanager
async def full_backlog() -> AsyncIterator[int]:
    """The port of a listener that lets nobody in: on Linux a further SYN is dropped."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(64):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            connecting = asyncio.get_running_loop().sock_connect(waiting, address)
            try:
                await asyncio.wait_for(connecting, 0.3)
            except TimeoutError:
                break
        yield address[1]


async def test_a_connection_that_never_opens_is_left_at_the_nodes_timeout(
    runner: NodeRunner, hurried: StepContext
) -> None:
    async with full_backlog() as port:
        error = await failure(runner.run(HTTP, {"url": f"http://127.0.0.1:{port}/x"}, hurried))
    assert (error.kind, error.retryable) == ("Timeout", True)


async def test_a_name_that_never_resolves_is_left_and_holds_no_other(
    runner: NodeRunner, hurried: StepContext, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, real = threading.Event(), socket.getaddrinfo

    def hangs(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "hangs.example":
            over.wait()
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    try:
        runs = [failure(runner.run(HTTP, {"url": "http://hangs.example/x"}, hurried)) for _ in range(20)]
        errors = await asyncio.gather(*runs)
        assert {(error.kind, error.retryable) for error in errors} == {("Timeout", True)}
        assert (await runner.run(HTTP, {"url": service.answer("/x", ok)}, hurried))["status"] == 200
    finally:
        over.set()


async def test_an_address_is_not_looked_up(
    runner: NodeRunner, context: StepContext, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many names hang, and however few threads there are, an address waits for none of them."""
    asked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host))
    service.answer("/x", ok)
    assert (await runner.run(HTTP, {"url": service.url("/x", "127.0.0.1")}, context))["status"] == 200
    assert asked == []


async def test_redirects_take_of_the_same_time(runner: NodeRunner, hurried: StepContext, service: Service) -> None:
    async def slowly(_: web.Request) -> web.Response:
        await asyncio.sleep(0.1)
        return web.Response(status=302, headers={"Location": "/x"})

    error = await failure(runner.run(HTTP, {"url": service.answer("/x", slowly)}, hurried))
    assert error.kind == "Timeout"


async def test_what_was_left_gives_its_connection_back(runner: NodeRunner, hurried: StepContext) -> None:
    """More time-outs than the pool has connections: the next request still gets one."""
    good = itertools.count()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/good" not in await reader.readline():
            await reader.read()
        next(good)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with talking(talk) as port:
        for _ in range(3):
            runs = [failure(runner.run(HTTP, {"url": f"http://127.0.0.1:{port}/x"}, hurried)) for _ in range(200)]
            assert {error.kind for error in await asyncio.gather(*runs)} == {"Timeout"}
        patient = dataclasses.replace(hurried, timeout=timedelta(seconds=20))
        assert (await runner.run(HTTP, {"url": f"http://127.0.0.1:{port}/good"}, patient))["status"] == 204


# ---- bytes


async def floods_headers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await flood(writer, b"X-Many: y\r\n")


async def floods_one_header(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    await flood(writer, b"y" * 65536)


async def floods_the_status(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 ")
    await flood(writer, b"y" * 65536)


async def floods_trailers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    await flood(writer, b"X-Many: y\r\n")


async def is_no_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await flood(writer, b"SSH-2.0-OpenSSH\r\n")


@pytest.mark.parametrize(
    "talk",
    [floods_headers, floods_one_header, floods_the_status, floods_trailers, is_no_http],
    ids=lambda talk: talk.__name__,
)
async def test_a_flood_beside_the_body_breaks_the_connection(
    runner: NodeRunner, context: StepContext, talk: Talk
) -> None:
    async with talking(talk) as port:
        error = await failure(runner.run(HTTP, {"url": f"http://127.0.0.1:{port}/x"}, context))
    assert (error.kind, error.retryable) == ("ConnectionError", True)
    assert len(error.message) < 500


@pytest.mark.parametrize(("size", "good"), [(100, True), (101, False)])
async def test_a_node_may_take_less(
    http: HttpNode, service: Service, context: StepContext, size: int, *, good: bool
) -> None:
    run = http.run({"url": service.answer("/x", lambda _: web.Response(text="x" * size)), "maxBytes": 100}, context)
    if good:
        assert len((await run)["body"]) == size
    else:
        error = await failure(run)
        assert (error.kind, error.retryable) == ("ResponseTooLarge", False)
        assert "more than 100 bytes" in error.message


# ---- redirects


@pytest.mark.parametrize(("most", "good"), [(2, True), (1, False), (0, False)])
async def test_a_node_may_follow_fewer_redirects(
    http: HttpNode, service: Service, context: StepContext, most: int, *, good: bool
) -> None:
    service.answer("/b", redirect("/c"))
    service.answer("/c", ok)
    run = http.run({"url": service.answer("/a", redirect("/b")), "maxRedirects": most}, context)
    if good:
        assert (await run)["status"] == 200
    else:
        assert (await failure(run)).kind == "TooManyRedirects"
        assert len(service.requests) == most + 1


@pytest.mark.parametrize(
    ("with_", "path"),
    [
        ({"maxBytes": 0}, "maxBytes"),
        ({"maxBytes": MAX_BODY + 1}, "maxBytes"),
        ({"maxRedirects": -1}, "maxRedirects"),
        ({"maxRedirects": 6}, "maxRedirects"),
    ],
)
def test_a_node_cannot_take_more(with_: dict[str, int], path: str) -> None:
    assert [problem.path for problem in HttpNode.check_with({"url": "https://x", **with_}, "with")] == [f"with.{path}"]


# ---- addresses


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[::]",
        "[::1]",
        "[::1%25lo]",
        "[fe80::1%25lo]",
        "⑫⑦.⓪.⓪.①",
    ],
)
async def test_no_spelling_of_a_local_address_gets_through(service: Service, context: StepContext, host: str) -> None:
    service.answer("/x", ok)
    async with NodeRunner() as guarded:
        error = await failure(guarded.run(HTTP, {"url": service.url("/x", host)}, context))
    assert error.kind in {"AddressRefused", "InvalidWith", "ConnectionError"}
    assert service.requests == []


async def test_each_redirect_is_judged_by_itself(
    service: Service, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, shop=["127.0.0.1"], rebound=["127.0.0.1"])
    service.answer("/x", redirect(service.url("/y", "shop")))
    service.answer("/y", redirect(service.url("/z", "rebound")))
    async with NodeRunner(allowed=AllowList.parse("shop")) as guarded:
        error = await failure(guarded.run(HTTP, {"url": service.url("/x", "shop")}, context))
    assert error.kind == "AddressRefused"
    assert [request.path for request in service.requests] == ["/x", "/y"]


async def test_a_connection_that_is_kept_open_is_no_way_around_a_name(
    service: Service, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, shop=["127.0.0.1"])
    service.answer("/x", ok)
    async with NodeRunner(allowed=AllowList.parse("shop")) as guarded:
        await guarded.run(HTTP, {"url": service.url("/x", "shop")}, context)
        error = await failure(guarded.run(HTTP, {"url": service.url("/x")}, context))
    assert error.kind == "AddressRefused"
    assert len(service.requests) == 1


async def test_an_address_that_was_not_judged_is_not_connected_to(
    service: Service, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a newer version of the library found its addresses by another way than the one that is guarded."""
    from aiohttp import TCPConnector

    from orchestrator.nodes.http_client import GuardedConnector

    monkeypatch.setattr(GuardedConnector, "_resolve_host", TCPConnector._resolve_host)
    service.answer("/x", ok)
    async with NodeRunner(allowed=AllowList.parse("127.0.0.0/8")) as guarded:
        error = await failure(guarded.run(HTTP, {"url": service.url("/x")}, context))
    assert (error.kind, error.retryable) == ("AddressRefused", False)
    assert service.requests == []
