"""An open HTTP door on a store, and a caller whose every answer is held against the OpenAPI document."""

from __future__ import annotations

import asyncio
import functools
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from jsonschema import Draft202012Validator

from orchestrator.door import openapi
from orchestrator.door.accepting import StoreAcceptor
from orchestrator.door.problems import PATH
from orchestrator.door.server import Door, Inside
from orchestrator.door.settings import DoorSettings
from orchestrator.door.tokens import Tokens
from orchestrator.errors import InvalidInput, Problem
from orchestrator.flag import CLEAR, FlagValues, parse
from orchestrator.intake import Intake, RoutingFacts
from orchestrator.journal import GroupCommit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime
    from pathlib import Path

    import pytest

    from orchestrator.clock import Clock
    from orchestrator.model import Workflow
    from orchestrator.store import Store, Submission, Submitted

TOKEN = "canary-" + "0123456789abcdef" * 3


@dataclass
class Flag:
    """The flag in the tester's hand."""

    values: FlagValues = CLEAR
    attempt: str = ""
    ages: tuple[float, ...] = ()

    def facts(self, now: datetime) -> RoutingFacts:
        return RoutingFacts(parse(self.values, now), None, self.attempt, self.ages)


@dataclass(frozen=True)
class Named:
    """Workflows by name."""

    by_name: Mapping[str, Workflow]

    async def find(self, name: str) -> Workflow:
        if name not in self.by_name:
            raise InvalidInput([Problem("workflow", f"there is no workflow {name!r} here")])
        return self.by_name[name]


@dataclass(frozen=True)
class Answer:
    """What a caller was told."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def fields(self) -> list[str]:
        """The fields that a refusal names."""
        return [error["field"] for error in self.body["errors"]]


@dataclass
class Caller:
    """Sends requests to a door."""

    session: aiohttp.ClientSession
    url: str
    token: str = TOKEN

    async def execute(self, body: Any = None, wait: str | None = None, **headers: str) -> Answer:
        """POST; a body that is no bytes is sent as JSON. Underscores in the names of headers stand for dashes."""
        query = "" if wait is None else f"?wait={wait}"
        data = body if isinstance(body, bytes) else json.dumps(body)
        return await self.send("POST", PATH + query, data=data, headers=headers)

    async def read(self, execution_id: str, wait: str | None = None) -> Answer:
        return await self.send("GET", f"{PATH}/{execution_id}" + ("" if wait is None else f"?wait={wait}"))

    async def send(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        sent = {"Authorization": f"Bearer {self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        async with self.session.request(method, self.url + path, headers=sent, **more) as response:
            body = json.loads(await response.read())
            answer = Answer(response.status, body, response.headers)
            if path.startswith(PATH):
                conforms(method, path, answer, response.content_type)
            return answer


@dataclass
class OpenDoor:
    """A door with everything around it."""

    door: Door
    caller: Caller
    flag: Flag
    store: Store
    submissions: GroupCommit[Submission, Submitted] = field(repr=False)

    def hold(self, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
        """What is accepted from now on stands still before it is submitted: one is there, and let it go on."""
        arrived, go = asyncio.Event(), asyncio.Event()
        put = self.submissions.put

        async def slow(item: Any) -> Any:
            arrived.set()
            await go.wait()
            return await put(item)

        monkeypatch.setattr(self.submissions, "put", slow)
        return arrived, go


@asynccontextmanager
async def open_door(
    store: Store,
    clock: Clock,
    folder: Path,
    *workflows: Workflow,
    v1_available: bool = True,
    tracing: Any = None,
    **settings: Any,
) -> AsyncIterator[OpenDoor]:
    """A door that listens on a port of its own; closed at the end."""
    tokens = folder / "tokens"
    if not tokens.exists():
        tokens.write_text(f"tester {TOKEN}\n", encoding="utf-8")
    flag = Flag()
    submissions: GroupCommit[Submission, Submitted] = GroupCommit(lambda batch: store.submit(batch, clock.now()))
    intake = Intake(submissions, flag, clock, v1_available=v1_available)
    known = Named({workflow.id.partition("/")[2]: workflow for workflow in workflows})
    inside = Inside(store, StoreAcceptor(store, intake), known, Tokens(tokens), clock, "default")
    door = Door(inside, DoorSettings(**settings), tracing)
    port = await door.serve("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as session:
            yield OpenDoor(door, Caller(session, f"http://127.0.0.1:{port}"), flag, store, submissions)
    finally:
        await door.aclose()
        await submissions.aclose()


@functools.cache
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(openapi.COMMITTED.read_text(encoding="utf-8"))
    return found


def conforms(method: str, path: str, answer: Answer, media_type: str) -> None:
    """Fail unless the committed document foretells this answer: its status, media type, body and headers."""
    template = PATH if re.fullmatch(re.escape(PATH) + r"(\?.*)?", path) else PATH + "/{id}"
    operation = document()["paths"][template].get(method.lower())
    if operation is None:
        assert answer.status in (404, 405)
        return
    told = operation["responses"][str(answer.status)]
    if "$ref" in told:
        told = document()["components"]["responses"][told["$ref"].rpartition("/")[2]]
    schema = told["content"][media_type]["schema"]
    Draft202012Validator({**schema, "components": document()["components"]}).validate(answer.body)
    assert set(told.get("headers", {})) <= set(answer.headers)
