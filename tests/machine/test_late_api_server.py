"""An operator that is started before its API server: alive, not ready, and ended by a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.probes import probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def operator(port: int, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One whose kubeconfig names a server that nobody has started yet."""
    named = {
        "clusters": [{"name": "late", "cluster": {"server": f"http://127.0.0.1:{free_port()}"}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "late", "context": {"cluster": "late", "user": "me"}}],
        "current-context": "late",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(named))
    settings = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "ORCHESTRATOR_METRICS_PORT": str(port)}
    command = [sys.executable, "-m", "orchestrator.cli.main", "operator", "run"]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **settings}) as process:
        yield process
        process.kill()


def test_it_is_alive_and_not_ready_and_ends_when_it_is_told_to(operator: subprocess.Popen[bytes], port: int) -> None:
    ready = eventually(lambda: probe(port, "/healthz"), "a probe's answer", within=60)
    assert (ready.status_code, ready.json()["silent"]) == (503, ["the API server, with our kinds: nothing yet"])
    live = probe(port, "/livez")
    assert live is not None
    assert live.status_code == 200
    operator.send_signal(signal.SIGTERM)
    assert operator.wait(60) == 0
