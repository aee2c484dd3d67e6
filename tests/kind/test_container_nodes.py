"""`container` nodes where a real kubelet runs them, in a namespace of the standard `restricted`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kind, pytest.mark.timeout(600, func_only=True)]

NAMESPACE = "boxes"
WRITES = "print('working'); open('/dev/termination-log', 'w').write('{\"rows\": 7}')"


@pytest.fixture(scope="module")
def boxes(cluster: Any) -> Any:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.kubectl("apply", "-f", "-", stdin=_document("v1", "Namespace", NAMESPACE, labels=labels))
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")


def _document(version: str, kind: str, name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **metadata}}


def ran(boxes: Any, folder: Path, **with_: Any) -> dict[str, Any]:
    """What `orchestrator run` says of one container of the product's own image."""
    node = {
        "id": "box",
        "type": "container",
        "timeout": "3m",
        "retry": {"maxAttempts": 1},
        "with": {"image": boxes.image, "user": 65532, **with_},
    }
    body = _document("orchestrator.dev/v1alpha1", "Workflow", "box", namespace=NAMESPACE)
    file = folder / "box.json"
    file.write_text(json.dumps(body | {"spec": {"nodes": [node], "output": "${nodes.box.output}"}}))
    settings = {
        "KUBECONFIG": str(boxes.kubeconfig),
        "ORCHESTRATOR_CONTAINERS": "kubernetes",
        "ORCHESTRATOR_CONTAINER_GRACE": "10s",
    }
    program = [sys.executable, "-m", "orchestrator.cli.main", "run", str(file), "--output", "json"]
    done = subprocess.run(
        [*program, "--database", str(folder / "store.db")],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_a_real_containers_file_and_log_are_the_nodes_output(boxes: Any, tmp_path: Path) -> None:
    said = ran(boxes, tmp_path, command=["python", "-c", WRITES])
    assert said["status"] == "success", said
    assert said["output"]["result"] == {"rows": 7}
    assert said["output"]["log"] == "working\n"


def test_its_result_may_be_a_file_in_a_volume_of_its_own(boxes: Any, tmp_path: Path) -> None:
    volume = {"name": "work", "mountPath": "/out", "emptyDir": "1Mi"}
    command = ["python", "-c", "open('/out/result.json', 'w').write('[7]'); open('/out/other', 'w').write('x')"]
    said = ran(boxes, tmp_path, command=command, volumes=[volume], result={"path": "/out/result.json"})
    assert said["status"] == "success", said
    assert said["output"]["result"] == [7]


def test_its_root_is_read_only_and_its_exit_code_is_told(boxes: Any, tmp_path: Path) -> None:
    said = ran(boxes, tmp_path, command=["python", "-c", "open('/etc/mine', 'w')"])
    assert said["status"] == "failed"
    assert "exit code 1" in json.dumps(said["error"])
    assert "Read-only file system" in json.dumps(said["error"])


def test_an_image_that_nobody_has_is_a_failure_after_its_grace(boxes: Any, tmp_path: Path) -> None:
    said = ran(boxes, tmp_path, image="registry.invalid/nobody/has:1")
    assert said["status"] == "failed"
    assert "ImageUnavailable" in json.dumps(said["error"])
