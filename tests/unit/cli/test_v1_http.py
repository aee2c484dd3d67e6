"""`run --engine v1` on a deployed engine: its answer, its interruption, and what is told when a setting is wrong."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.support.background import Background
from tests.support.legacy import Legacy, LegacyTable
from tests.unit.cli.test_processes import DEADLINE, until
from tests.unit.cli.test_run import DOUBLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.cli.conftest import Shell


@pytest.fixture
def legacy(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Legacy]:
    """An endpoint in a thread of its own; the environment says that it is V1."""
    endpoint = Legacy()
    with Background() as background:
        background.run(endpoint.__aenter__())
        monkeypatch.setenv("ORCHESTRATOR_V1", "http")
        monkeypatch.setenv("ORCHESTRATOR_V1_URL", endpoint.url())
        yield endpoint
        background.run(endpoint.__aexit__())


def test_a_run_on_v1_is_a_post(shell: Shell, legacy: Legacy, monkeypatch: pytest.MonkeyPatch) -> None:
    legacy.answer = lambda request: web.json_response(request.body["input"]["n"] * 2)
    monkeypatch.setenv("ORCHESTRATOR_V1_OUTCOME", "response")
    path = shell.write("w.yaml", DOUBLE)
    answer = shell("run", path, "--input", '{"n": 21}', "--engine", "v1", "--output", "json")
    assert (answer.code, answer.json()["engine"], answer.json()["output"]) == (0, "v1", 42)
    assert [post.body["workflow"] for post in legacy.posts] == ["shop/flow"]


def test_an_interrupted_run_goes_on_with_the_same_key(
    shell: Shell, legacy: Legacy, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = LegacyTable(f"sqlite:///{shell.folder / 'legacy.db'}")
    for name, value in table.settings().items():
        monkeypatch.setenv(f"ORCHESTRATOR_V1_{name.upper()}", value)
    path = shell.write("w.yaml", DOUBLE)
    run = ("run", path, "--input", '{"n": 1}', "--engine", "v1", "--idempotency-key", "k", "--output", "json")
    with shell.process(*run) as process:
        until(lambda: bool(legacy.posts))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, "is kept and goes on" in err) == (130, True)
    table.put(id=legacy.posts[0].id, status="success", output=7)
    answer = shell(*run)
    assert (answer.code, answer.json()["output"], len(legacy.posts)) == (0, 7, 1)


def test_a_run_on_v2_does_not_open_what_v1_needs(shell: Shell, legacy: Legacy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_V1_OUTCOME", "table")
    monkeypatch.setenv("ORCHESTRATOR_V1_TABLE_DATABASE", "sqlite:////no/such/folder/legacy.db")
    answer = shell("run", shell.write("w.yaml", DOUBLE), "--input", '{"n": 1}', "--output", "json")
    assert (answer.code, answer.json()["output"]) == (0, 2)


def test_the_key_of_an_execution_on_v1_is_not_waited_for_on_v2(
    shell: Shell, legacy: Legacy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_V1_OUTCOME", "callback")
    secret = shell.write("secret", "s" * 40)
    monkeypatch.setenv("ORCHESTRATOR_V1_CALLBACK_SECRET_FILE", str(secret))
    monkeypatch.setenv("ORCHESTRATOR_V1_CALLBACK_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("ORCHESTRATOR_V1_CALLBACK_URL", "http://127.0.0.1:1")
    run = ("run", shell.write("w.yaml", DOUBLE), "--input", '{"n": 1}', "--idempotency-key", "k")
    with shell.process(*run, "--engine", "v1") as process:
        until(lambda: bool(legacy.posts))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE)
    answer = shell(*run, "--engine", "v2")
    assert (answer.code, "is on V1: run it with --engine v1" in answer.err) == (1, True)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ORCHESTRATOR_V1_URL", "legacy", "error: ORCHESTRATOR_V1_URL: "),
        ("ORCHESTRATOR_V1_OUTCOME", "", "error: ORCHESTRATOR_V1_OUTCOME: is required with ORCHESTRATOR_V1=http"),
        ("ORCHESTRATOR_V1_TABLE", "others", "error: ORCHESTRATOR_V1_TABLE: there is no table 'others'"),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    shell: Shell, legacy: Legacy, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    for setting, good in LegacyTable(f"sqlite:///{shell.folder / 'legacy.db'}").settings().items():
        monkeypatch.setenv(f"ORCHESTRATOR_V1_{setting.upper()}", good)
    monkeypatch.setenv(name, value)
    answer = shell("worker", "--until-idle")
    assert (answer.code, answer.err.startswith(said)) == (2, True), answer.err
