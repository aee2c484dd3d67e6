"""`orchestrator serve`: the door as a process, killed where it hurts most."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from orchestrator.door.problems import PATH
from orchestrator.store import Filter, Store
from orchestrator.testing.faults import CRASHED, VARIABLE
from tests.support.doors import TOKEN
from tests.support.ports import free_port
from tests.unit.cli.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.cli.conftest import Shell

FLOW = """
apiVersion: orchestrator.dev/v1alpha1
kind: Workflow
metadata: {name: echo}
spec:
  nodes: [{id: a, type: transform, with: {x: "${input.n}"}}]
  output: "${nodes.a.output.x}"
"""
ORDER = {"workflow": "echo", "input": {"n": 5}, "engine": "v2", "idempotencyKey": "k"}


@pytest.fixture
def folder(shell: Shell) -> Path:
    shell.write("echo.yaml", FLOW)
    shell.write("tokens", TOKEN)
    return shell.folder


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process, and its address as soon as it says it."""
    arguments = ["serve", "echo.yaml", "--tokens", "tokens", "--listen", f"127.0.0.1:{free_port()}"]
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator.testing", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            first = process.stderr.readline()
            assert first.startswith("1 workflow at POST http://"), first + process.stderr.read()
            yield process, first.split()[-1]
        finally:
            process.kill()


def ask(url: str, body: Any = None, **params: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=60, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        return client.post(url, json=body or ORDER, params=params)


async def executions(store: Store) -> list[str]:
    return [record.id for record in await store.executions(Filter())]


def test_it_runs_what_comes_in_and_drains_at_sigterm(folder: Path) -> None:
    with serving(folder) as (process, url):
        assert url.endswith(PATH)
        answer = ask(url, wait="30s")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert (answer.status_code, answer.json()["output"]) == (200, 5)


def test_a_crash_between_the_commit_and_the_answer_makes_nothing_twice(folder: Path, shell: Shell) -> None:
    with serving(folder, **{VARIABLE: "submit:after:1"}) as (process, url):
        with pytest.raises(httpx.TransportError):
            ask(url)
        assert process.wait(30) == CRASHED
    (kept,) = shell.ask(executions)
    with serving(folder) as (_, url):
        answer = ask(url, wait="30s")
    assert (answer.status_code, answer.json()["status"], answer.json()["id"]) == (200, "success", kept)
    assert shell.ask(executions) == [kept]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["echo.yaml", "--tokens", "nowhere"], "the tokens cannot be read"),
        (["echo.yaml", "--tokens", "tokens", "--listen", "8080"], "--listen: '8080' is no host:port"),
        (["echo.yaml", "--tokens", "tokens", "--wait", "soon"], "--wait: 'soon' is not a duration"),
        (["echo.yaml", "echo.yaml", "--tokens", "tokens"], "is the name of two workflows"),
        (["echo.yaml"], "--tokens"),
    ],
)
def test_what_it_cannot_start_with_is_named(folder: Path, shell: Shell, arguments: list[str], said: str) -> None:
    answer = shell("serve", *arguments)
    assert answer.code == 2
    assert said in answer.err
    assert not shell.database.exists()


def test_a_port_that_is_taken_is_named(folder: Path, shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        answer = shell("serve", "echo.yaml", "--tokens", "tokens", "--listen", address)
    assert (answer.code, f"cannot listen on {address}" in answer.err) == (1, True)
