"""An upgrade: the release before this one and this one, as processes on one database, with every promise kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from orchestrator import events as e
from orchestrator.model import Status
from orchestrator.store import Filter, open_store
from tests.support.engine import ended, node, spec
from tests.support.invariants import store_violations
from tests.support.polling import until
from tests.support.previous import NotHere, find, unpack
from tests.support.stores import submission, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.store import Store
    from tests.support.previous import Previous

STEPS = 4
ROOT = Path(__file__).parents[2]
CALL = {"with": {"call": "tests:effect"}}
CHAIN = spec(
    node("n0", type_="python", **CALL), *(node(f"n{i}", f"n{i - 1}", type_="python", **CALL) for i in range(1, STEPS))
)


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Previous:
    """The previous release's files; skips, with what to do, where the clone does not have them."""
    try:
        return unpack(tmp_path_factory.mktemp("previous") / "files")
    except NotHere as missing:
        pytest.skip(str(missing))


class Processes:
    """`orchestrator` as several versions have it, and what their steps leave."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self._database = folder, database
        self.effects = folder / "effects"
        self.effects.touch()
        shutil.copy(ROOT / "tests" / "machine" / "steps.py", folder / "steps_of_both.py")
        self._all: list[subprocess.Popen[bytes]] = []

    def start(self, environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "orchestrator.cli.main", *arguments, "--database", self._database]
        ours = {"EFFECTS": str(self.effects), "ORCHESTRATOR_LEASE": "1s"}
        process = subprocess.Popen(
            [*command, "--functions", "steps_of_both"], env={**environment, **ours}, cwd=self.folder
        )
        self._all.append(process)
        return process

    def lines(self) -> int:
        return len(self.effects.read_text().split())

    def end(self) -> None:
        for process in self._all:
            process.kill()
            process.wait()


@pytest.fixture
def processes(tmp_path: Path, database: str) -> Iterator[Processes]:
    """None outlives the test."""
    made = Processes(tmp_path, database)
    yield made
    made.end()


async def test_both_work_on_one_database_and_no_step_runs_again(
    previous: Previous, processes: Processes, database: str
) -> None:
    old, new = previous.environment(processes.folder), os.environ | {"PYTHONPATH": str(processes.folder)}
    file = processes.folder / "order.yaml"
    document = {"apiVersion": "orchestrator.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "order"}}
    file.write_text(yaml.safe_dump({**document, "spec": CHAIN}))

    begun = processes.start(old, "run", str(file))  # makes the database, and dies in mid-execution
    await until(lambda: processes.lines() >= 2, "the previous release runs")
    kill(begun)
    store = await open_store(database)  # migrates it
    try:
        ids = [f"x{i}" for i in range(12)]
        await submit(store, ids[:4])
        old_worker = processes.start(old, "worker")  # as one that is started again during the roll-out
        await ended(store, ids[:4], within=60)

        await submit(store, ids[4:])
        before = processes.lines()
        await until(lambda: processes.lines() > before, "the previous release goes on")
        kill(old_worker)
        processes.start(new, "worker")
        every = [record.id for record in await store.executions(Filter())]
        records = await ended(store, every, within=60)

        assert len(every) == 13  # the one that `run` began is among them
        assert {record.status for record in records} == {Status.SUCCESS}
        assert await completions(store, every) == dict.fromkeys((f"{i}/n{n}" for i in every for n in range(STEPS)), 1)
        assert await store_violations(store, every) == []
    finally:
        await store.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


async def submit(store: Store, ids: list[str]) -> None:
    flow = workflow(CHAIN)
    await store.submit([submission(id_, workflow=flow) for id_ in ids], datetime.now(UTC))


async def completions(store: Store, ids: list[str]) -> Counter[str]:
    """How often each step was completed."""
    found: Counter[str] = Counter()
    for id_ in ids:
        events = [recorded.event for recorded in await store.events(id_)]
        found.update(f"{id_}/{event.node}" for event in events if isinstance(event, e.StepCompleted))
    return found


def test_the_previous_release_runs_its_own_code(previous: Previous) -> None:
    code = "import orchestrator, orchestrator_operator; print(orchestrator.__file__, orchestrator_operator.__file__)"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=previous.environment(),
        cwd=previous.folder,
        check=True,
        capture_output=True,
        text=True,
    )
    assert all(previous.folder in Path(path).parents for path in said.stdout.split())


# -- where the history is


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A repository of three commits."""
    folder = tmp_path / "history"
    folder.mkdir()
    git(folder, "init", "-q")
    for number in range(3):
        git(folder, "commit", "-q", "--allow-empty", "-m", f"commit {number}")
    return folder


def test_the_newest_tag_behind_this_version_is_the_previous_release(history: Path) -> None:
    for tag, at in (("v0.1.0", "HEAD~2"), ("v0.2.0", "HEAD~1"), ("v0.3.0", "HEAD"), ("nightly", "HEAD~1")):
        git(history, "tag", tag, at)
    assert find(history, "0" * 40) == "v0.2.0"


def test_without_a_tag_it_is_the_pinned_commit(history: Path) -> None:
    commit = git(history, "rev-parse", "HEAD~1")
    assert find(history, commit) == commit


def test_a_shallow_clone_says_what_to_do(history: Path, tmp_path: Path) -> None:
    first = git(history, "rev-parse", "HEAD~2")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{history}", "shallow")
    with pytest.raises(NotHere, match="git fetch --unshallow --tags"):
        find(tmp_path / "shallow", first)


def test_files_without_a_history_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(NotHere, match="clone the repository"):
        find(tmp_path, "0" * 40)
