"""Bad weather between an operator and the API server: a reverse proxy that a test turns.

It speaks HTTP/1.1 to the operator, whose kubeconfig points at it, and TLS with the operator's own certificate to the
server. It runs in the test's own process, on the loop of tests/support/background.py.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.background import Background

_PLURALS = ("workflows", "executions", "enginerollouts")
_SENT = ("Accept", "Content-Type", "User-Agent")  # the user agent names the manager of the fields that are written
_HELD = 120.0  # seconds that a request waits in here at most


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as the proxy sees it."""

    method: str
    path: str
    watch: bool

    @property
    def lists(self) -> bool:
        """Whether it asks for all objects of one of our kinds."""
        return self.method == "GET" and not self.watch and self.path.endswith(_PLURALS)

    @property
    def writes(self) -> bool:
        return self.method != "GET"


@dataclass(frozen=True, slots=True)
class Late:
    """A request that was kept back, and what the server said when it came at last."""

    asked: Asked
    status: int


class Way:
    """Good weather: everything passes at once. Each kind of bad weather overrides what it spoils."""

    silent = False  # nothing of a watch's stream passes, and it is not closed
    seconds: float | None = None  # after which a watch is closed

    async def answer(self, asked: Asked) -> web.Response | None:
        """What is said in the server's place; None: let the server answer."""
        return None


class Gone(Way):
    """Every watch is told that its version is too old: list again."""

    async def answer(self, asked: Asked) -> web.Response | None:
        return _event(410, "Expired") if asked.watch else None


class Fatal(Way):
    """The first watch of each kind gets what kopf takes for the end of all watching."""

    def __init__(self) -> None:
        self._had = set[str]()

    async def answer(self, asked: Asked) -> web.Response | None:
        if not asked.watch or asked.path in self._had:
            return None
        self._had.add(asked.path)
        return _status(410, "Expired") if asked.path.endswith("executions") else _event(500, "InternalError")


class EveryOther(Way):
    """Of all requests of one method and path, whatever they are, every other one fails."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        self._status, self._reason, self._headers = status, reason, headers
        self._asked: dict[tuple[str, str], int] = {}

    async def answer(self, asked: Asked) -> web.Response | None:
        key = (asked.method, asked.path)
        self._asked[key] = self._asked.get(key, 0) + 1
        if self._asked[key] % 2:
            return _status(self._status, self._reason, **self._headers)
        return None


class Pages(EveryOther):
    """A proxy's page in place of an answer, as if all were well: for single objects, read and written."""

    def __init__(self) -> None:
        super().__init__(200, "")

    async def answer(self, asked: Asked) -> web.Response | None:
        if asked.watch or asked.lists or await super().answer(asked) is None:
            return None
        return web.Response(text="<html>Please log in.</html>", content_type="text/html")


class Silent(Way):
    """Watches fall silent, those that are open and those that are opened, and stay so."""

    silent = True


class Brief(Way):
    """Watches close every second."""

    seconds = 1.0


class Slow(Gone):
    """Every watch must list again, and a list takes its time."""

    async def answer(self, asked: Asked) -> web.Response | None:
        if asked.lists:
            await asyncio.sleep(2.0)  # the fault itself
        return await super().answer(asked)


#: Made anew for each turn: some of them count.
WAYS: dict[str, Callable[[], Way]] = {
    "410 Gone on every watch": Gone,
    "429 with Retry-After for every other request": lambda: EveryOther(429, "TooManyRequests", **{"Retry-After": "1"}),
    "500 for every other request": lambda: EveryOther(500, "InternalError"),
    "watches that close every second": Brief,
    "slow lists": Slow,
    "a page of HTML for every other request": Pages,
    "410 as a status, and an error within a watch": Fatal,
    "watches that fall silent": Silent,
}


@dataclass(eq=False, slots=True)
class _Relay:
    """An open watch. Once silent, always silent: a half-dead connection does not come back to life."""

    request: web.Request
    silent: bool = False

    def end(self) -> None:
        if self.request.transport is not None:
            self.request.transport.abort()


@dataclass(eq=False)
class Hold:
    """Requests that are kept back until `ApiProxy.release`."""

    matches: Callable[[Asked], bool]
    caught: list[Asked] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class ApiProxy:
    """Lies between one operator and the API server; use it in a `with`."""

    def __init__(self, background: Background, account: Path, folder: Path) -> None:
        """`account` is the kubeconfig with which it asks; its own is written into the folder."""
        self._background, self._port = background, free_port()
        self._server, self._tls = _upstream(account, folder)
        self.kubeconfig = folder / "through-the-proxy.yaml"
        self.kubeconfig.write_text(_kubeconfig(f"http://127.0.0.1:{self._port}"), encoding="utf-8")
        self._way = Way()
        self._relays: set[_Relay] = set()
        self._tasks: set[asyncio.Task[Any]] = set()  # requests, those of clients that are gone among them
        self._holds: list[Hold] = []
        self._runner: web.AppRunner
        self._session: aiohttp.ClientSession
        self._open: asyncio.Event
        self.late: list[Late] = []  # writes that were kept back, once they were answered
        self.spoiled = 0  # requests and streams that the present way has spoiled

    def __enter__(self) -> Self:
        self._background.run(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._background.run(self._end())

    def turn(self, way: str) -> None:
        """From now on, by one of WAYS, or "" for good weather."""

        async def turn() -> None:
            self._way, self.spoiled = WAYS[way]() if way else Way(), 0
            for relay in list(self._relays):
                if self._way.silent:
                    relay.silent = True
                elif way:
                    relay.end()

        self._background.run(turn())

    def cut(self) -> None:
        """Nothing passes in either direction, and no connection is closed: packets are lost."""

        async def cut() -> None:
            self._open.clear()
            for relay in self._relays:
                relay.silent = True

        self._background.run(cut())

    def mend(self) -> None:
        """What was sent meanwhile comes late, though its sender may be gone."""

        async def mend() -> None:
            self._open.set()

        self._background.run(mend())

    def hold(self, matches: Callable[[Asked], bool]) -> Hold:
        """Keep back each request that matches, from now on."""

        async def hold() -> Hold:
            made = Hold(matches)
            self._holds.append(made)
            return made

        return self._background.run(hold())

    def release(self, hold: Hold) -> None:
        """Let them go to the server, and no more of their kind wait."""

        async def release() -> None:
            self._holds.remove(hold)
            hold.over.set()

        self._background.run(release())

    # -- the server
    async def _begin(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _end(self) -> None:
        self._open.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await self._answer(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(request.method, request.path, request.query.get("watch") in ("true", "1"))
        body = await request.read()
        late = await self._wait(asked)
        said = await self._way.answer(asked)
        if said is not None:
            self.spoiled += 1
            return said
        if asked.watch:
            return await self._stream(request)
        try:
            answer = await self._pass_on(request, body)
        except (aiohttp.ClientError, OSError):  # the server is away
            return _status(503, "ServiceUnavailable")
        if late and asked.writes:
            self.late.append(Late(asked, answer.status))
        await self._open.wait()  # or the answer is lost on its way back
        return answer

    async def _wait(self, asked: Asked) -> bool:
        """Until it may pass; whether it had to wait."""
        hold = next((one for one in self._holds if one.matches(asked)), None)
        if hold is not None:
            hold.caught.append(asked)
            await asyncio.wait_for(hold.over.wait(), _HELD)
        late = hold is not None or not self._open.is_set()
        await asyncio.wait_for(self._open.wait(), _HELD)
        return late

    async def _pass_on(self, request: web.Request, body: bytes) -> web.Response:
        async with self._session.request(
            request.method, self._url(request), data=body or None, headers=_headers(request)
        ) as said:
            kept = {name: said.headers[name] for name in ("Content-Type", "Retry-After") if name in said.headers}
            return web.Response(status=said.status, body=await said.read(), headers=kept)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        relay, seconds = _Relay(request, self._way.silent), self._way.seconds
        self._relays.add(relay)
        try:
            async with self._session.get(
                self._url(request), headers=_headers(request), timeout=aiohttp.ClientTimeout(total=seconds)
            ) as said:
                response = web.StreamResponse(status=said.status, headers={"Content-Type": "application/json"})
                await response.prepare(request)
                with suppress(ConnectionResetError, aiohttp.ClientError):
                    await self._relay(said, response, relay)
                while relay.silent and request.transport is not None:
                    await asyncio.sleep(0.2)  # the server has ended it: who is cut off does not hear of that either
                return response
        finally:
            self._relays.discard(relay)

    async def _relay(self, said: aiohttp.ClientResponse, response: web.StreamResponse, relay: _Relay) -> None:
        try:
            async for chunk in said.content.iter_any():
                if relay.silent:
                    self.spoiled += 1
                else:
                    await response.write(chunk)
        except TimeoutError:
            self.spoiled += 1

    def _url(self, request: web.Request) -> URL:
        return URL(self._server + request.raw_path, encoded=True)


def _headers(request: web.Request) -> dict[str, str]:
    return {name: request.headers[name] for name in _SENT if name in request.headers}


def _status(code: int, reason: str, **headers: str) -> web.Response:
    return web.json_response(_failure(code, reason), status=code, headers=headers)


def _event(code: int, reason: str) -> web.Response:
    line = json.dumps({"type": "ERROR", "object": _failure(code, reason)}) + "\n"
    return web.Response(text=line, content_type="application/json")


def _failure(code: int, reason: str) -> dict[str, Any]:
    kind = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**kind, "code": code, "reason": reason, "message": f"{reason}: bad weather"}


def _upstream(account: Path, folder: Path) -> tuple[str, ssl.SSLContext]:
    """The server of a kubeconfig, and how to speak to it as its user."""
    read = yaml.safe_load(account.read_text(encoding="utf-8"))
    cluster, user = read["clusters"][0]["cluster"], read["users"][0]["user"]
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / "client.crt", folder / "client.key"
    certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
    key.write_bytes(base64.b64decode(user["client-key-data"]))
    tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    tls.load_cert_chain(certificate, key)
    return str(cluster["server"]), tls


def _kubeconfig(server: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": server}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
            "current-context": "proxy",
        }
    )
