"""A deployed legacy engine for tests: a real HTTP endpoint, a table of executions of its own, calls back when told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import httpx
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.clock import SystemClock
from orchestrator.engines.v1_http import settings as v1_settings
from orchestrator.engines.v1_http.open import open_v1_http
from orchestrator.functions import Functions
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.runner import NodeRunner
from orchestrator.store.sql.watched import Watched
from orchestrator.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from orchestrator.engines.v1_http.engine import V1Http
    from orchestrator.store import Store


@dataclass(frozen=True)
class Request:
    """One request that the endpoint got."""

    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def id(self) -> str:
        return str(self.body["id"])


@dataclass
class Legacy:
    """The endpoint. `answer` says what it answers, and may wait; `until` awaits what it got."""

    answer: Callable[[Request], Any] = lambda _: web.json_response({}, status=202)
    posts: list[Request] = field(default_factory=list)
    cancels: list[Request] = field(default_factory=list)
    _server: TestServer | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/execute", self._execute), web.post("/cancel/{id}", self._cancel)])
        self._server = TestServer(app)
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        await self._server.close()

    def url(self, path: str = "/execute") -> str:
        assert self._server is not None
        return str(self._server.make_url("/")).rstrip("/") + path

    async def posted(self, number: int = 1) -> None:
        await until(lambda: len(self.posts) >= number)

    async def _execute(self, request: web.Request) -> web.StreamResponse:
        got = Request(request.path, request.headers, await request.json())
        self.posts.append(got)
        answer = self.answer(got)
        response: web.StreamResponse = await answer if asyncio.iscoroutine(answer) else answer
        return response

    async def _cancel(self, request: web.Request) -> web.Response:
        self.cancels.append(Request(request.path, request.headers, await request.json()))
        return web.json_response({})


class LegacyTable:
    """The legacy engine's own table, in its own database."""

    def __init__(self, url: str, name: str = "runs", **columns: Any) -> None:
        self.url, self.name = url, name
        scheme = "postgresql+psycopg" if url.startswith("postgresql") else "sqlite"
        self.engine = sa.create_engine(sa.make_url(url).set(drivername=scheme), poolclass=sa.NullPool)
        types = {"id": sa.Text, "status": sa.Text, "output": sa.JSON, "error": sa.Text, "current_node_id": sa.Text}
        self.table = sa.Table(name, sa.MetaData(), *(sa.Column(c, t) for c, t in (types | columns).items() if t))
        self.table.metadata.create_all(self.engine)

    def put(self, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.insert(self.table).values(**values))

    def change(self, id_: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.update(self.table).where(self.table.c.id == id_).values(**values))

    def settings(self, **further: str) -> dict[str, str]:
        return {"outcome": "table", "table_database": self.url, "table": self.name, "poll": "50ms"} | further


def read(url: str, **settings: str) -> v1_settings.V1HttpSettings:
    """Settings as the environment would give them."""
    given = {"url": url} | settings
    return v1_settings.read({v1_settings.variable(name): value for name, value in given.items()})


@asynccontextmanager
async def working_with(
    store: Store, settings: v1_settings.V1HttpSettings, worker: WorkerSettings
) -> AsyncIterator[V1Http]:
    """A worker with V1 behind HTTP that runs while the block does."""
    assert isinstance(store, Watched)
    clock = SystemClock()
    async with (
        NodeRunner(allowed=AllowList.parse(""), functions=Functions()) as runner,
        open_v1_http(store, settings, clock, worker.lease) as v1,
    ):
        stop = asyncio.Event()
        task = asyncio.create_task(Worker(store, runner, clock, worker, v1).run(stop))
        try:
            yield v1
        finally:
            stop.set()
            await task


async def call_back(post: Request, document: Any, **changes: Any) -> httpx.Response:
    """The legacy engine's call, as it was told in the post."""
    told = post.body["callback"] | changes
    async with httpx.AsyncClient(trust_env=False) as client:
        headers = {"Authorization": f"Bearer {told['token']}"}
        if isinstance(document, bytes):
            return await client.post(told["url"], content=document, headers=headers)
        return await client.post(told["url"], json=document, headers=headers)


async def until(condition: Callable[[], Any], within: float = 20) -> None:
    """Wait for what the test itself can see."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)
