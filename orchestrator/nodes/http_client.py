"""The HTTP client of all `http` nodes: it connects only to addresses that were judged, and forgets everything between.

One pool of connections a process. A name is resolved once for a connection, its addresses are judged, and the
connection goes to a judged address; TLS and the Host header keep the name. Since connections are what is guarded, a
redirect to another host meets the same guard. No proxy variables, no .netrc, no cookies: an execution leaves nothing to
the next.

aiohttp, because it takes a twentieth of the processor time of httpx when many requests are on their way at once.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import aiohttp
import certifi
from aiohttp.client_proto import ResponseHandler

from orchestrator.errors import StepError
from orchestrator.nodes.addresses import SETTING, Address, AllowList
from orchestrator.nodes.threads import Threads

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

_CONNECTIONS, _CONNECTIONS_TO_A_HOST, _IDLE_SECONDS = 1024, 512, 15.0
_CONNECT_SECONDS = 10.0  # for each address that a name has
_LOOK_UPS = 32  # at once: a resolver that hangs must not hold every name
_LINE, _HEADERS = 16 * 1024, 128  # the longest line of an answer's head in bytes, and how many headers it may have

_judged: ContextVar[frozenset[str]] = ContextVar("judged", default=frozenset())


class GuardedConnector(aiohttp.TCPConnector):
    """Resolves, judges, and connects to what was judged."""

    def __init__(self, allowed: AllowList, context: ssl.SSLContext) -> None:
        super().__init__(
            ssl=context,
            limit=_CONNECTIONS,
            limit_per_host=_CONNECTIONS_TO_A_HOST,
            keepalive_timeout=_IDLE_SECONDS,
            use_dns_cache=False,
            socket_factory=_judged_socket,
        )
        factory: Any = functools.partial(_Handler, loop=self._loop)
        self._factory = factory
        self._allowed = allowed
        self._look_ups = Threads("name look-up", _LOOK_UPS)

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> list[ResolveResult]:  # noqa: ARG002 - the signature is aiohttp's
        """The judged addresses of a host, whatever it is written like; raises StepError `AddressRefused`."""
        found = _written(host) or await self._look_ups.run(functools.partial(_addresses, host, port), host)
        good = [address for address in found if self._allowed.allows(host, port, address)]
        if not good:
            raise StepError(
                "AddressRefused",
                f"{host}:{port} leads to {', '.join(map(str, found))}, which is not public; whoever runs the worker "
                f"can allow it with {SETTING} (CIDRs and host names)",
                retryable=False,
            )
        _judged.set(frozenset(map(str, good)))
        return [
            {
                "hostname": host,
                "host": str(address),
                "port": port,
                "family": socket.AF_INET if address.version == 4 else socket.AF_INET6,  # noqa: PLR2004 - IPv4
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in good
        ]

    async def close(self, *, abort_ssl: bool = False) -> None:
        self._look_ups.close()
        await super().close(abort_ssl=abort_ssl)


class _Handler(ResponseHandler):
    """A connection that is closed with what it could not send: a service that reads nothing would keep it for ever."""

    def close(self) -> None:
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.transport.abort()
        super().close()


def _judged_socket(address: Any) -> socket.socket:
    """The last gate before a connection: should the library find an address by another way, nothing gets through."""
    family, kind, protocol, _, where = address
    if where[0] not in _judged.get():
        raise StepError("AddressRefused", f"{where[0]} was never judged; nothing was sent", retryable=False)
    return socket.socket(family, kind, protocol)


def _written(host: str) -> list[Address]:
    """The address that a host is, where it is written as one: nobody has to be asked. Any other spelling gives []."""
    try:
        return [ipaddress.ip_address(host)] if "%" not in host else []
    except ValueError:
        return []


def _addresses(host: str, port: int) -> list[Address]:
    """Every address of a name, each once, in the resolver's order; raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host} is no host name: {error}") from error
    return list(dict.fromkeys(ipaddress.ip_address(sockaddr[0]) for *_, sockaddr in found))


def open_client(allowed: AllowList) -> aiohttp.ClientSession:
    """A client that keeps to the guard; close it with `close`."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()  # beside certifi's: an organisation's own authority lies in the system's store
    return aiohttp.ClientSession(
        connector=GuardedConnector(allowed, context),
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),  # the engine limits the whole step
        # Identity: a compressed answer could grow a thousandfold before its size is known.
        headers={"User-Agent": f"orchestrator/{_version()}", "Accept-Encoding": "identity"},
        skip_auto_headers=("Content-Type",),
        max_line_size=_LINE,
        max_field_size=_LINE,
        max_headers=_HEADERS,
    )


def _version() -> str:
    try:
        return version("orchestrator")
    except PackageNotFoundError:  # run from a source tree that nobody installed
        return "unknown"
