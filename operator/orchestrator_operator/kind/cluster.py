"""One kind cluster by its name: made, given images, and deleted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from orchestrator_operator.kind import binaries
from orchestrator_operator.kind.daemon import Daemon, pullable
from orchestrator_operator.kind.nodeimage import NodeImage
from orchestrator_operator.kind.places import Places
from orchestrator_operator.kind.steps import Steps
from orchestrator_operator.local.locking import locked

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator_operator.local import Reporter

NODE_IMAGE = "ORCHESTRATOR_KIND_NODE_IMAGE"

_PATIENCE = 3600.0  # seconds to wait for another process that builds
_READY = "180s"


@dataclass(frozen=True, slots=True)
class KindCluster:
    """What `kind` and `docker` are asked to do for one cluster. Synchronous, as the local control plane is."""

    name: str
    kind: Path
    places: Places
    steps: Steps

    @classmethod
    def open(cls, name: str, report: Reporter, places: Places | None = None) -> Self:
        """Have a Docker daemon and kind. Raises LocalError that says what is missing."""
        places = places or Places()
        with locked(places.root / "lock", timeout=_PATIENCE):
            steps = Daemon(places, Steps(report, places.logs)).reached()
            found = binaries.get_kind(places.modules, report)
        return cls(name, found, places, steps)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; kind's own is not touched."""
        return self.places.kubeconfig(self.name)

    def exists(self) -> bool:
        return self.name in self.steps.ask([self.kind, "get", "clusters"]).splitlines()

    def up(self) -> bool:
        """Make the cluster; says whether there was anything to do. A cluster that cannot be made leaves nothing."""
        if self.exists():
            self._say_where()
            return False
        image = self._node_image()
        command = [self.kind, "create", "cluster", "--name", self.name, "--config", self.places.config]
        command += ["--image", image] if image else []
        command += ["--kubeconfig", self.kubeconfig, "--wait", _READY]
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.steps.run(f"creating the cluster {self.name}", command, expected=timedelta(seconds=25))
        except BaseException:
            self.down()
            raise
        return True

    def load(self, *images: str) -> None:
        """Have images on the node, where Pods take them from without a registry."""
        command = [self.kind, "load", "docker-image", *images, "--name", self.name]
        self.steps.run(f"loading {', '.join(images)} into the cluster", command, expected=timedelta(seconds=10))

    def export_logs(self, folder: Path) -> None:
        """Everything that the node and its Pods said, as far as it is to be had: our node image has no crictl."""
        self.steps.try_([self.kind, "export", "logs", folder, "--name", self.name], within=120)

    def down(self) -> None:
        """Delete the cluster, and everything in it. None is fine, too."""
        command = [self.kind, "delete", "cluster", "--name", self.name, "--kubeconfig", self.kubeconfig]
        self.steps.ask(command, within=300)
        self.kubeconfig.unlink(missing_ok=True)

    def gateway(self) -> str:
        """The machine's address on the cluster's network: where Pods reach what listens here."""
        form = "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
        found = self.steps.ask(["docker", "network", "inspect", "kind", "--format", form]).split()
        return next(address for address in found if ":" not in address)

    def _say_where(self) -> None:
        command = [self.kind, "export", "kubeconfig", "--name", self.name, "--kubeconfig", self.kubeconfig]
        self.steps.ask(command)

    def _node_image(self) -> str:
        """Empty: kind's own, which it pulls."""
        if chosen := os.environ.get(NODE_IMAGE):
            return chosen
        if pullable():
            return ""
        with locked(self.places.root / "lock", timeout=_PATIENCE):
            return NodeImage(self.places, self.steps).get()


def end_daemon(report: Reporter, places: Places | None = None) -> bool:
    """End the Docker daemon of ours, if one runs; its images stay."""
    places = places or Places()
    return places.root.is_dir() and Daemon(places, Steps(report, places.logs)).end()
