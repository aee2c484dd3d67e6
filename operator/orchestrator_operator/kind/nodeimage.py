"""The node image, for where kind's own cannot be pulled: built once for each set of versions, and kept by Docker."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, TYPE_CHECKING

from orchestrator_operator.kind import archive, binaries
from orchestrator_operator.kind.places import fingerprint
from orchestrator_operator.kind.rootfs import NODE, SUITE, RootFilesystems
from orchestrator_operator.local import LocalError
from orchestrator_operator.local.places import go_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator_operator.kind.places import Places
    from orchestrator_operator.kind.steps import Steps

_BUILD = "orchestrator-kind-node-build"  # the container in which it is made
_BASE = "localhost/orchestrator-kind-node-base"
_ENTRYPOINT = 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]'
_PATH = "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UP = "for _ in $(seq 150); do ctr version >/dev/null 2>&1 && exit; sleep 0.2; done; exit 1"


@dataclass(frozen=True, slots=True)
class NodeImage:
    """Makes the image with the Docker that `steps` reaches."""

    places: Places
    steps: Steps

    @property
    def version(self) -> str:
        """Kubernetes' version."""
        return next(tool.version for tool in binaries.node(self.places.modules) if tool.name == "kubelet")

    @property
    def name(self) -> str:
        """The image's name; its tag changes with whatever it is made of."""
        described = [path for path in self.places.project.joinpath("deploy/kind").rglob("*") if path.is_file()]
        described += [go_modules() / "kubernetes" / file for file in ("go.mod", "go.sum")]
        root = self.places.project / "deploy"
        key = fingerprint(root, [path for path in described if path.suffix != ".md"], SUITE, *NODE)
        return f"localhost/orchestrator-kind-node:v{self.version}-{key}"

    def get(self) -> str:
        """The image's name, once Docker has it."""
        if self.steps.try_(["docker", "image", "inspect", self.name]).returncode != 0:
            if os.geteuid() != 0:
                raise LocalError(
                    "no registry is reachable, so the node image has to be built, which needs root (debootstrap): "
                    "run this as root, or name an image that Docker has in ORCHESTRATOR_KIND_NODE_IMAGE"
                )
            self.steps.report.note("no image registry is reachable: building a node image (once, about ten minutes)")
            self._make()
        return self.name

    def _make(self) -> None:
        programs = binaries.get_node(self.places.modules, self.steps.report)
        roots = RootFilesystems(self.places, self.steps)
        node = roots.node(programs, self.version)
        components = self._components(programs, node, roots.proxy(node, programs["kube-proxy"]))
        self._import(_BASE, archive.of_folder(node), "ENV container=docker", _ENTRYPOINT)
        self._commit(components)
        self.steps.try_(["docker", "image", "rm", *components, _BASE], within=120)
        shutil.rmtree(self.places.scratch, ignore_errors=True)

    def _components(self, programs: Mapping[str, Path], node: Path, proxy: Path) -> list[str]:
        """The images that kubeadm starts its Pods from, under the names it knows them by."""
        asked = self.steps.ask(
            [programs["kubeadm"], "config", "images", "list", f"--kubernetes-version=v{self.version}"]
        )
        names = [*asked.splitlines(), _sandbox(node)]
        for name in dict.fromkeys(names):
            program = name.rpartition("/")[2].partition(":")[0]
            if program == "kube-proxy":
                self._import(name, archive.of_folder(proxy), _PATH)
                continue
            inside = f"/{program}" if program in {"coredns", "pause"} else f"/usr/local/bin/{program}"
            feed = archive.of_files({inside: programs[program]})
            self._import(name, feed, _PATH, f'ENTRYPOINT ["{inside}"]')
        return list(dict.fromkeys(names))

    def _import(self, name: str, feed: Callable[[IO[bytes]], None], *changes: str) -> None:
        told = [word for change in changes for word in ("--change", change)]
        label = f"making the image {name.rpartition('/')[2]}"
        self.steps.run(label, ["docker", "import", *told, "-", name], feed=feed)

    def _commit(self, components: list[str]) -> None:
        """As `kind build node-image`: the images go into the node's containerd, which unpacks them at its start."""
        steps = self.steps
        steps.try_(["docker", "rm", "--force", "--volumes", _BUILD])
        try:
            steps.ask(
                [
                    *("docker", "run", "--detach", "--name", _BUILD, "--network", "none", "--entrypoint", "sleep"),
                    *("--stop-signal", "SIGRTMIN+3", "--security-opt", "seccomp=unconfined", _BASE, "infinity"),
                ]
            )
            steps.ask(["docker", "exec", "--detach", _BUILD, "sh", "-c", "echo $$ >/run/build.pid; exec containerd"])
            steps.ask(["docker", "exec", _BUILD, "sh", "-c", _UP])
            steps.run(
                "putting Kubernetes' images into the node",
                [
                    *("docker", "exec", "--interactive", _BUILD, "ctr", "--namespace=k8s.io", "images", "import"),
                    *("--local", "--no-unpack", "--all-platforms", "--label", "io.cri-containerd.pinned=pinned", "-"),
                ],
                feed=self._saved(components),
            )
            end = "kill $(cat /run/build.pid); sleep 1; rm -rf /run/build.pid /run/containerd /tmp/*"
            steps.ask(["docker", "exec", _BUILD, "sh", "-c", end])
            steps.run(
                "keeping the node image",
                ["docker", "commit", "--change", _ENTRYPOINT, _BUILD, self.name],
                expected=timedelta(seconds=10),
            )
        finally:
            steps.try_(["docker", "rm", "--force", "--volumes", _BUILD])

    def _saved(self, names: list[str]) -> Callable[[IO[bytes]], None]:
        def feed(pipe: IO[bytes]) -> None:
            subprocess.run(["docker", "save", *names], stdout=pipe, env=dict(self.steps.environ), check=True)

        return feed


def _sandbox(node: Path) -> str:
    """The image of the process that holds a Pod's namespaces, as kind's containerd names it."""
    lines = (node / "etc/containerd/config.toml").read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.strip().startswith("sandbox_image"))
