"""The product on a cluster: an overlay with the image that was built, applied by kubectl as a person would."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from orchestrator_operator.local import Toolbox, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from orchestrator_operator.kind.cluster import KindCluster
    from orchestrator_operator.local import Reporter

_READY = "--timeout=180s"


def kubectl(report: Reporter) -> Path:
    """Kubectl of the version that the local control plane uses. Raises ToolUnavailable."""
    return Toolbox(report=report).get([tool for tool in catalogue.load() if tool.name == "kubectl"])["kubectl"].path


def overlay(
    project: Path,
    name: str,
    image: str,
    folder: Path,
    namespace: str | None = None,
    components: Iterable[str] = (),
) -> Path:
    """A kustomization in `folder` that is deploy/overlays/<name> with that image (name:tag), and these components."""
    folder.mkdir(parents=True, exist_ok=True)
    repository, _, tag = image.rpartition(":")

    def place(part: str) -> str:
        return os.path.relpath((project / "deploy" / part).resolve(), folder.resolve())

    document: dict[str, object] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [place(f"overlays/{name}")],
        "components": [place(component) for component in components],
        "images": [{"name": "orchestrator", "newName": repository, "newTag": tag}],
    }
    if namespace is not None:
        document["namespace"] = namespace
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder


@dataclass(frozen=True, slots=True)
class Installer:
    """Puts deploy/overlays/single on a cluster."""

    cluster: KindCluster
    kubectl: Path

    def single(self, image: str) -> None:
        """One Pod, ready. Raises StepFailed with what kubectl says."""
        places, steps = self.cluster.places, self.cluster.steps
        folder = overlay(places.project, "single", image, places.root / "overlays" / self.cluster.name)
        command = [self.kubectl, f"--kubeconfig={self.cluster.kubeconfig}"]
        steps.run("installing deploy/overlays/single", [*command, "apply", "--kustomize", folder])
        wait = ["rollout", "status", "deployment/orchestrator-operator", "--namespace=orchestrator", _READY]
        steps.run("waiting for the operator", [*command, *wait])
