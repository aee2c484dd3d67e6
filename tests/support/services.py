"""Real HTTP and TCP services on this machine, names that lead to them, and folders of secrets, for tests of nodes."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.errors import StepError

if TYPE_CHECKING:
    from pathlib import Path

Answer = Callable[[web.Request], Any]


@dataclass
class Service:
    """A real HTTP service on this machine whose answers a test writes down; it keeps what it was asked."""

    server: TestServer
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def url(self, path: str, host: str | None = None) -> str:
        return f"{self.server.scheme}://{host or self.server.host}:{self.server.port}{path}"

    def answer(self, path: str, response: Answer) -> str:
        self.answers[path] = response
        return self.url(path)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        response = self.answers[request.path](request)
        return await response if asyncio.iscoroutine(response) else response


async def start(context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Service:
    app = web.Application()
    service = Service(TestServer(app, host=host, scheme="https" if context else "http"))
    app.router.add_route("*", "/{path:.*}", service.handle)
    await service.server.start_server(**({"ssl": context} if context else {}))
    return service


def ok(_: web.Request) -> web.Response:
    return web.json_response({"ok": True})


def redirect(url: str, status: int = 302) -> Answer:
    return lambda _: web.Response(status=status, headers={"Location": url})


async def failure(awaitable: Any) -> StepError:
    """The StepError that it must end with."""
    with pytest.raises(StepError) as caught:
        await awaitable
    return caught.value


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[int]:
    """The port of a TCP server that says what no HTTP library would."""
    tasks: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()
        await server.wait_closed()


class Names:
    """A resolver of our own: each name gives one address after another, and counts how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **addresses: list[str]) -> None:
        self.asked: Counter[str] = Counter()
        real = socket.getaddrinfo

        def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
            if host not in addresses:
                return real(host, port, *arguments, **options)
            answers = addresses[host]
            address = answers[min(self.asked[host], len(answers) - 1)]
            self.asked[host] += 1
            return real(str(ip_address(address)), port, *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, secret = folder / "cert.pem", folder / "key.pem"
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, secret)
    return file, context


def keep_secret(folder: Path, name: str, /, hosts: str | None = None, namespace: str = "default", **keys: str) -> None:
    """Write a Secret as a plain folder."""
    home = folder / namespace / name
    home.mkdir(parents=True, exist_ok=True)
    for key, value in {**keys, **({"hosts": hosts} if hosts is not None else {})}.items():
        (home / key).write_text(value, encoding="utf-8")
