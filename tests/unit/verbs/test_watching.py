"""An execution is followed: a line for each change, and a word about what may be missing while nothing changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.cli.verbs import watching
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS

from orchestrator.errors import OrchestratorError
from orchestrator.testing import FakeClock
from tests.support.cluster import NAMESPACE, FakeKubernetes, document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ACCEPTED = [{"type": "Accepted", "status": "True"}]


class Watched:
    """What `watch` prints of the execution `one`, as it changes."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.cluster, self._capsys = FakeKubernetes(FakeClock()), capsys
        self.out, self.err = "", ""
        self.task: asyncio.Task[dict[str, Any]]

    async def begin(self) -> None:
        nodes = [{"id": "manager", "type": "approval"}]
        await self.cluster.create(WORKFLOWS, NAMESPACE, document(WORKFLOWS, "gate", {"nodes": nodes}))
        await self.cluster.create(EXECUTIONS, NAMESPACE, document(EXECUTIONS, "one", {"workflow": "gate"}))
        port: Any = self.cluster
        self.task = asyncio.create_task(watching.to_the_end(port, NAMESPACE, "one", to_stderr=False))

    async def becomes(self, phase: str, **status: Any) -> None:
        await self.cluster.patch_status(
            EXECUTIONS, NAMESPACE, "one", {"phase": phase, "conditions": ACCEPTED, **status}
        )

    async def until(self, printed: Callable[[Watched], bool]) -> None:
        async with asyncio.timeout(10):
            while not printed(self):
                out, err = self._capsys.readouterr()
                self.out, self.err = self.out + out, self.err + err
                await asyncio.sleep(0.005)


@pytest.fixture
async def watched(capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Watched]:
    made = Watched(capsys)
    await made.begin()
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)


async def test_each_change_is_a_line_and_the_end_ends_it(watched: Watched) -> None:
    await watched.until(lambda seen: "Created" in seen.out)
    await watched.becomes("Waiting", engine="v2", currentNode="manager", progress="0/1")
    await watched.until(lambda seen: "Waiting" in seen.out)
    await watched.becomes("Success", progress="1/1", currentNode=None)
    body = await watched.task
    await watched.until(lambda seen: "Success" in seen.out)
    assert body["status"]["phase"] == "Success"
    assert [line[9:] for line in watched.out.splitlines()] == [
        "Created",
        "Waiting      on v2, at manager, 0/1: for an approval; `kubectl orchestrator approve one manager`",
        "Success      1/1",
    ]


async def test_one_that_is_deleted_ends_it_with_that_word(watched: Watched) -> None:
    await watched.until(lambda seen: "Created" in seen.out)
    await watched.cluster.delete(EXECUTIONS, NAMESPACE, "one")
    with pytest.raises(OrchestratorError, match="one was deleted"):
        await watched.task


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_SILENT", 0.01)


@pytest.mark.usefixtures("_impatient")
async def test_while_nobody_takes_it_up_a_person_is_told_who_may_be_missing(watched: Watched) -> None:
    await watched.until(lambda seen: "does one run for the namespace shop?" in seen.err)
    await watched.becomes("Pending")
    await watched.until(lambda seen: "no worker has taken it up yet" in seen.err)
