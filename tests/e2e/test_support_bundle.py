"""`orchestrator support-bundle` beside a real API server: the flag and a rollout as they stand there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.rollout_documents import rollout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.live import ControlPlane

pytestmark = pytest.mark.e2e

NAMESPACE = "support"
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "orchestrator-flags", "namespace": NAMESPACE},
    "stringData": {"USE_ORCHESTRATOR_V2": "true", "OTHER": "canary-of-the-cluster"},
}


@pytest.fixture(scope="module")
def files(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    control_plane.kubectl("create", "namespace", NAMESPACE)
    for document in (SECRET, rollout("v2", (5, "1m"), (100, "1m"))):
        control_plane.kubectl("create", "--namespace", NAMESPACE, "-f", "-", stdin=document)
    path: Path = tmp_path_factory.mktemp("bundle") / "b.tar.gz"
    command = [sys.executable, "-m", "orchestrator.cli.main", "support-bundle", "-n", NAMESPACE, "-o", str(path)]
    environment = os.environ | {"KUBECONFIG": str(control_plane.cluster.kubeconfig)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    with tarfile.open(path) as archive:
        return {
            member.name.removeprefix("b/"): file.read().decode()
            for member in archive
            if (file := archive.extractfile(member))
        }


def test_the_clusters_part_is_complete(files: dict[str, str]) -> None:
    parts: list[dict[str, Any]] = json.loads(files["manifest.json"])["parts"]
    assert {"name": "cluster", "state": "complete", "reason": ""} in parts


def test_it_tells_the_flag_and_the_rollout_and_no_other_key(files: dict[str, str]) -> None:
    assert json.loads(files["cluster/flag.json"])["values"] == {"USE_ORCHESTRATOR_V2": "true"}
    assert [one["name"] for one in json.loads(files["cluster/rollouts.json"])] == ["v2"]
    assert not any("canary-of-the-cluster" in text for text in files.values())


def test_the_definitions_are_known_as_this_versions(files: dict[str, str]) -> None:
    assert [one["as_this_program_has_it"] for one in json.loads(files["cluster/definitions.json"])] == [True] * 3
