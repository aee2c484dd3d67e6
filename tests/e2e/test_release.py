"""What a release attaches: one file an overlay, for exactly the image that was pushed."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from orchestrator_operator.kind.install import kubectl
from orchestrator_operator.local import ConsoleReporter

from tests.support.live import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

PUSHED = f"ghcr.io/example/orchestrator@sha256:{'0123456789abcdef' * 4}"


def rendered(folder: Path, image: str) -> dict[str, list[dict[str, Any]]]:
    """The documents of each file that deploy/render.sh writes."""
    subprocess.run(
        [ROOT / "deploy/render.sh", image, folder],
        env={**os.environ, "KUBECTL": str(kubectl(ConsoleReporter()))},
        check=True,
        timeout=60,
    )
    return {file.name: list(yaml.safe_load_all(file.read_text(encoding="utf-8"))) for file in folder.iterdir()}


def images(documents: list[dict[str, Any]]) -> list[str]:
    pods = [one["spec"]["template"]["spec"] for one in documents if one["kind"] == "Deployment"]
    return [container["image"] for pod in pods for container in pod["containers"]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    return rendered(tmp_path_factory.mktemp("release"), PUSHED)


def test_every_container_is_the_image_that_was_pushed(files: dict[str, list[dict[str, Any]]]) -> None:
    assert {name: images(documents) for name, documents in files.items()} == {
        "install.yaml": [PUSHED],
        "install-ha.yaml": [PUSHED, PUSHED],
    }


def test_each_file_is_a_whole_installation(files: dict[str, list[dict[str, Any]]]) -> None:
    for documents in files.values():
        kinds = Counter(document["kind"] for document in documents)
        assert kinds["CustomResourceDefinition"] == 3
        assert kinds["Namespace"] == 1
        assert kinds["NetworkPolicy"] == kinds["Deployment"]
        inside = {one["metadata"].get("namespace", "orchestrator") for one in documents}
        assert inside == {"orchestrator"}


def test_an_image_may_be_named_by_its_tag_and_nothing_is_left_beside_the_manifests(tmp_path: Path) -> None:
    name = "registry.example:5000/team/orchestrator:1.2.3"
    assert images(rendered(tmp_path, name)["install.yaml"]) == [name]
    assert not list((ROOT / "deploy").glob(".render.*"))
