"""Tab behind `kubectl orchestrator`, by the program that kubectl asks."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib import metadata
from typing import Any

import pytest
from orchestrator_operator.adapters.kubernetes import Kubernetes, Unavailable
from orchestrator_operator.specs import EXECUTIONS

from orchestrator.cli import completing
from orchestrator.testing import FakeClock
from tests.support.cluster import NAMESPACE, FakeKubernetes, document


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeKubernetes:
    made = FakeKubernetes(FakeClock())
    for name in ("order-1", "order-2", "other"):
        asyncio.run(made.create(EXECUTIONS, NAMESPACE, document(EXECUTIONS, name, {"workflow": "w"})))

    async def connect(**_: Any) -> FakeKubernetes:
        return made

    monkeypatch.setattr(Kubernetes, "connect", connect)
    monkeypatch.setattr(os, "environ", dict(os.environ) | {"ORCHESTRATOR_NAMESPACE": NAMESPACE})
    return made


def completed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-orchestrator", *words])
    completing.main()
    return capsys.readouterr().out.split()


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("sig",), ["signal"]),
        (("rollout", "sta"), ["status"]),
        (("signal", "order-"), ["order-1", "order-2"]),
        (("watch", "o"), ["order-1", "order-2", "other"]),
        (("watch", "--names"), ["--namespace"]),
        (("watch", "--namespace", "elsewhere", "o"), []),
    ],
)
def test_commands_options_and_names_are_completed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], offered: list[str]
) -> None:
    assert completed(capsys, monkeypatch, *words) == [*offered, ":4"]


def test_without_an_api_server_nothing_is_offered_and_nothing_is_said(
    cluster: FakeKubernetes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.failures = [Unavailable("no answer")]
    assert completed(capsys, monkeypatch, "watch", "o") == [":4"]


def test_kubectl_finds_it() -> None:
    scripts = {entry.name: entry.value for entry in metadata.entry_points(group="console_scripts")}
    assert scripts["kubectl_complete-orchestrator"] == "orchestrator.cli.completing:main"
