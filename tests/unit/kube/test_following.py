"""A watch of one object that goes on where it broke off: every way in which one breaks off."""

from __future__ import annotations

import json
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.adapters import following
from orchestrator_operator.adapters.following import follow, lines
from orchestrator_operator.adapters.kubernetes import NotFound, Refused, Unavailable
from orchestrator_operator.specs import EXECUTIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


def body(version: int, uid: str = "u") -> dict[str, Any]:
    return {"metadata": {"name": "one", "uid": uid, "resourceVersion": str(version)}}


def event(kind: str, version: int) -> bytes:
    return json.dumps({"type": kind, "object": body(version)}).encode() + b"\n"


GONE = b'{"type": "ERROR", "object": {"code": 410}}\n'


class Server:
    """Answers in turn: objects for `get`, streams (chunks, or an error) for watches."""

    def __init__(self, gets: list[Any], streams: list[Any]) -> None:
        self.gets, self.streams, self.asked = gets, streams, list[str]()

    async def get(self, *_: Any) -> dict[str, Any]:
        return self._next(self.gets)  # type: ignore[no-any-return]  # what the test says

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, Any], seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append(query["resourceVersion"])
        chunks = self._next(self.streams)

        async def content() -> AsyncIterator[bytes]:
            for chunk in chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk

        yield content()

    def _next(self, answers: list[Any]) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PAUSE", 0.0)
    monkeypatch.setattr(following, "_BREATH", 0.0)


async def versions(server: Any, wanted: int, **options: Any) -> list[int]:
    """The versions that were told, the first few."""
    seen: list[int] = []
    async with aclosing(follow(server, EXECUTIONS, "shop", "one", **options)) as bodies:
        async for told in bodies:
            seen.append(int(told["metadata"]["resourceVersion"]))
            if len(seen) == wanted:
                break
    return seen


async def test_a_stream_that_ends_is_taken_up_from_the_last_version() -> None:
    server = Server([body(1)], [[event("MODIFIED", 2)], [], [event("MODIFIED", 3)]])
    assert await versions(server, 3) == [1, 2, 3]
    assert server.asked == ["1", "2", "2"]


async def test_a_bookmark_moves_the_place_and_is_not_told() -> None:
    server = Server([body(1)], [[event("BOOKMARK", 7)], [event("MODIFIED", 8)]])
    assert await versions(server, 2) == [1, 8]
    assert server.asked == ["1", "7"]


@pytest.mark.parametrize("gone", [[GONE], Refused("Gone", status=410)])
async def test_when_its_version_is_gone_it_begins_with_the_object_as_it_is(gone: Any) -> None:
    server = Server([body(1), body(9)], [gone, [event("MODIFIED", 10)]])
    assert await versions(server, 3) == [1, 9, 10]


async def test_a_server_that_is_away_is_waited_for_and_told_of() -> None:
    away, troubles = Unavailable("no answer"), list[str]()
    server = Server([body(1), away, body(1), body(2)], [[away], [away]])
    told = await versions(server, 2, troubled=lambda error: troubles.append(str(error)))
    assert (told, len(troubles)) == ([1, 2], 3)  # the same version is told once


async def test_what_may_not_be_looked_at_is_raised() -> None:
    with pytest.raises(Refused):
        await versions(Server([body(1)], [Refused("Forbidden", status=403)]), 2)


async def test_a_deletion_is_told_with_the_last_state_and_ends_it() -> None:
    with pytest.raises(NotFound, match="was deleted"):
        await versions(Server([body(1)], [[event("DELETED", 2)]]), 3)


async def test_another_object_of_that_name_is_not_taken_for_it() -> None:
    with pytest.raises(NotFound, match="another one has its name"):
        await versions(Server([body(1), body(5, uid="other")], [[GONE]]), 2)


async def test_lines_are_whole_however_they_were_cut() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"a", b"b\nc", b"\n\n", b"d"):
            yield chunk

    assert [line async for line in lines(chunks())] == [b"ab", b"c", b"d"]
