"""Server-side request forgery: whatever an address is written like, nothing inside is connected to, by any outlet.

The outlets are those whose URL comes from somebody who need not be trusted with the network: `http` nodes, by whoever
writes workflows or their input; the webhook of a rollout, by whoever keeps its Secret. Where the person who runs the
worker chose the URL (V1 over HTTP, Prometheus, tracing), private addresses are in order.
"""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, Self

import pytest
import pytest_asyncio
from aiohttp import web
from orchestrator_operator.adapters.kubernetes import encode
from orchestrator_operator.adapters.webhook import Webhook

from orchestrator.errors import StepError
from orchestrator.model import Node, RetryPolicy
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.runner import NodeRunner
from tests.support.services import Names, redirect, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from orchestrator.nodes.base import StepContext
    from tests.support.services import Service

RETRY = RetryPolicy(1, timedelta(0), 1.0, timedelta(0), "none")
HTTP = Node("charge", "http", (), None, {}, RETRY, timedelta(seconds=20))
METADATA = [
    "169.254.169.254",
    "2852039166",
    "0xA9FEA9FE",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "025177524776",
    "169.254.43518",
    "169.16689662",
    "169.254.169.254.",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::169.254.169.254]",
    "[::ffff:0:a9fe:a9fe]",  # SIIT, RFC 2765
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[2001:0:a9fe:a9fe::]",
    "[fe80::a9fe:a9fe%25eth0]",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "metadata.google.internal",
    "instance-data",
    "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
    "169。254。169。254",
]
LOOPBACK = ["127.0.0.1", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]"]
LOOPBACK += ["[64:ff9b::7f00:1]", "localhost", "LocalHost.", "[0:0:0:0:0:0:0:1]", "127.0.0.1.nip.example"]
NAMES = {
    "metadata.google.internal": ["169.254.169.254"],
    "instance-data": ["169.254.169.254"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
}


class Outlet(Protocol):
    """One way in which a URL of somebody else is asked; opened once, for a client's certificates take a while."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...

    async def ask(self, url: str) -> str:
        """Send a request; why it was not sent, or ""."""


class HttpNodes:
    """`http` nodes of a worker with the default settings, or that allow a name."""

    def __init__(self, context: StepContext, allowed: str = "") -> None:
        self._context, self._runner = context, NodeRunner(allowed=AllowList.parse(allowed))

    async def __aenter__(self) -> Self:
        await self._runner.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.aclose()

    async def ask(self, url: str) -> str:
        try:
            await self._runner.run(HTTP, {"url": url, "method": "POST"}, self._context)
        except StepError as error:
            return f"{error.kind}: {error.message}"
        return ""


class Webhooks:
    """The webhook of a rollout."""

    def __init__(self, allowed: str = "") -> None:
        kubernetes: Any = self
        self._webhook, self._url = Webhook(kubernetes, "default", AllowList.parse(allowed), pause=0.0), ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._webhook.aclose()

    async def secret(self, _namespace: str, _name: str) -> dict[str, Any]:
        return {"data": {"url": encode(self._url)}}

    async def ask(self, url: str) -> str:
        self._url = url
        return await self._webhook.send("rollout-webhook", "url", {})


@pytest_asyncio.fixture(params=["http node", "webhook"])
async def outlet(request: pytest.FixtureRequest, context: StepContext) -> AsyncIterator[Outlet]:
    opened: Outlet = HttpNodes(context) if request.param == "http node" else Webhooks()
    async with opened:
        yield opened


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that anybody connects to; nobody gets anywhere."""
    found: list[Any] = []

    async def sock_connect(_loop: Any, _socket: Any, address: Any) -> None:
        found.append(address)
        raise ConnectionRefusedError("not in this test")

    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", sock_connect)
    return found


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("hosts", [METADATA, LOOPBACK], ids=["metadata", "loopback"])
async def test_nothing_inside_is_connected_to(
    outlet: Outlet, connected: list[Any], monkeypatch: pytest.MonkeyPatch, hosts: list[str], scheme: str
) -> None:
    Names(monkeypatch, **NAMES)
    through = [host for host in hosts if await outlet.ask(f"{scheme}://{host}/latest/meta-data/") == ""]
    assert (through, connected) == ([], [])


async def test_a_public_address_is_connected_to(outlet: Outlet, connected: list[Any]) -> None:
    """So an empty list above means something."""
    await outlet.ask("https://8.8.8.8/")
    assert {address[0] for address in connected} == {"8.8.8.8"}


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/", "//127.0.0.1/", "unix:/x"]
)
async def test_no_other_scheme_is_spoken(outlet: Outlet, connected: list[Any], url: str) -> None:
    assert await outlet.ask(url) != ""
    assert connected == []


@pytest.mark.parametrize(
    "url",
    [
        "https://8.8.8.8@127.0.0.1/",
        "https://127.0.0.1#@8.8.8.8/",
        "https://8.8.8.8\\@127.0.0.1/",
        "https://[::1]@8.8.8.8:x/",
    ],
)
async def test_no_part_of_a_url_hides_its_host(outlet: Outlet, connected: list[Any], url: str) -> None:
    await outlet.ask(url)
    assert {address[0] for address in connected} <= {"8.8.8.8"}


async def test_a_name_that_changes_its_mind_is_connected_to_where_it_was_judged(
    outlet: Outlet, connected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is judged, inside when it is asked again."""
    names = Names(monkeypatch, rebound=["8.8.8.8", "169.254.169.254"])
    await outlet.ask("https://rebound/")
    assert "169.254.169.254" not in {address[0] for address in connected}
    assert names.asked["rebound"] >= 1


async def test_of_several_addresses_only_the_public_ones_are_connected_to(
    outlet: Outlet, connected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("10.0.0.1", "8.8.8.8")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    await outlet.ask("https://mixed/")
    assert {address[0] for address in connected} == {"8.8.8.8"}


# -- a service outside that sends us in


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    started = await start()
    yield started
    await started.server.close()


def sent_to(where: str, status: int) -> Callable[[web.Request], web.Response]:
    return lambda _: web.Response(status=status, headers={"Location": where})


async def test_a_redirect_leads_nowhere_inside(
    service: Service, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, outside=["127.0.0.1"])
    asked = 0
    async with HttpNodes(context, "outside") as nodes, Webhooks("outside") as webhooks:
        for host in ("169.254.169.254", "2852039166", "[::ffff:a9fe:a9fe]", "localhost"):
            inside = f"http://{host}:{service.server.port}/inside"
            for status in (301, 302, 303, 307, 308):
                service.answer("/x", sent_to(inside, status))
                assert await nodes.ask(service.url("/x", "outside")) != ""
                assert await webhooks.ask(service.url("/x", "outside")) != ""
                asked += 2
    assert [request.path for request in service.requests] == ["/x"] * asked


async def test_a_redirect_to_the_same_place_is_followed_by_nodes_alone(
    service: Service, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, outside=["127.0.0.1"])
    service.answer("/x", redirect(service.url("/y", "outside")))
    service.answer("/y", lambda _: web.Response())
    async with HttpNodes(context, "outside") as nodes, Webhooks("outside") as webhooks:
        assert await nodes.ask(service.url("/x", "outside")) == ""
        assert await webhooks.ask(service.url("/x", "outside")) != ""
    assert [request.path for request in service.requests] == ["/x", "/y", "/x"]
