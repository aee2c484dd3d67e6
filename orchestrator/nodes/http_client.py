"""The HTTP client of all `http` nodes: it connects only to addresses that were judged, and forgets everything between.

One connection pool a process. A name is resolved once for a connection, its addresses are judged, and the connection
goes to a judged address; TLS and the Host header keep the name. Since connections are what is guarded, a redirect to
another host meets the same guard. No proxy variables, no .netrc, no cookies: an execution leaves nothing to the next.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import httpcore
import httpx

from orchestrator.errors import StepError
from orchestrator.nodes.addresses import SETTING, Address, AllowList

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONNECTIONS, _IDLE_CONNECTIONS, _IDLE_SECONDS = 256, 64, 15.0
_CONNECT_SECONDS = 10.0


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves, judges, and connects to what was judged."""

    def __init__(self, allowed: AllowList) -> None:
        self._allowed = allowed
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first judged address that answers; raises StepError `AddressRefused` if none is allowed."""
        addresses = await _resolve(host, port)
        good = [address for address in addresses if self._allowed.allows(host, port, address)]
        if not good:
            raise StepError(
                "AddressRefused",
                f"{host}:{port} leads to {', '.join(map(str, addresses))}, which is not public; whoever runs the "
                f"worker can allow it with {SETTING} (CIDRs and host names)",
                retryable=False,
            )
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in good:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def _resolve(host: str, port: int) -> list[Address]:
    """Every address of a name, each once, in the resolver's order; raises httpcore.ConnectError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
    return list(dict.fromkeys(ipaddress.ip_address(sockaddr[0]) for *_, sockaddr in found))


def open_client(allowed: AllowList) -> httpx.AsyncClient:
    """A client that keeps to the guard; close it with `aclose`."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()  # beside certifi's: an organisation's own authority lies in the system's store
    transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
    transport._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001 - httpx offers no other way to a network backend
        ssl_context=context,
        max_connections=_CONNECTIONS,
        max_keepalive_connections=_IDLE_CONNECTIONS,
        keepalive_expiry=_IDLE_SECONDS,
        network_backend=GuardedBackend(allowed),
    )
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,  # http.py follows, with a limit and with fewer headers
        timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),  # the engine limits the step as a whole
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        # Identity: a compressed answer could grow a thousandfold before its size is known.
        headers={"User-Agent": f"orchestrator/{_version()}", "Accept-Encoding": "identity"},
    )


def _version() -> str:
    try:
        return version("orchestrator")
    except PackageNotFoundError:  # run from a source tree that nobody installed
        return "unknown"
