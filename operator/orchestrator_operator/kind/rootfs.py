"""Root filesystems of Debian packages, by debootstrap: the node's, kube-proxy's and the product's Python."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator_operator.kind.host import IMAGES, Host
from orchestrator_operator.local import ToolUnavailable
from orchestrator_operator.local.gobuild import build_environment
from orchestrator_operator.local.toolchain import find_go

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator_operator.kind.places import Places
    from orchestrator_operator.kind.steps import Steps

SUITE = "bookworm"

# What images/base/Dockerfile of kind installs, and its container runtime and network plugins from Debian, too.
NODE = (
    "systemd",
    "iptables",
    "nftables",
    "conntrack",
    "iproute2",
    "ethtool",
    "socat",
    "mount",
    "util-linux",
    "kmod",
    "procps",
    "libseccomp2",
    "ca-certificates",
    "curl",
    "jq",
    "runc",
    "containernetworking-plugins",
)
PYTHON = ("python3", "python3-venv", "ca-certificates")

_LEAVINGS = (
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*",
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/locale/*",
    "usr/share/info/*",
    "tmp/*",
    "dev/*",
)

_PROXY_PROGRAMS = (
    *("/usr/bin/dash", "/usr/sbin/xtables-legacy-multi", "/usr/sbin/xtables-nft-multi", "/usr/sbin/nft"),
    "/usr/sbin/conntrack",
)
_PROXY_NAMES = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")


@dataclass(frozen=True, slots=True)
class RootFilesystems:
    """Makes them below `places.scratch`, where the caller removes them when they have become images."""

    places: Places
    steps: Steps

    def bootstrap(self, name: str, packages: Sequence[str], expected: timedelta) -> Path:
        """A minimal Debian with these packages."""
        host, root = Host(self.steps), self.places.scratch / name
        host.require(IMAGES)
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        self.steps.run(
            f"unpacking Debian packages for {name}",
            ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE, root, host.mirror()],
            expected=expected,
        )
        for pattern in _LEAVINGS:
            for path in root.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        return root

    def node(self, binaries: Mapping[str, Path], version: str) -> Path:
        """A node: systemd, container runtime, kubelet and what kind lays into its own images."""
        root = self.bootstrap("node", NODE, timedelta(minutes=2))
        for folder in ("etc", "kind", "usr"):
            shutil.copytree(self._kind_files() / folder, root / folder, dirs_exist_ok=True)
        self._readable(root)
        for name in ("containerd", "ctr", "containerd-shim-runc-v2"):
            _install(binaries[name], root / "usr/local/bin" / name)
        for name in ("kubeadm", "kubelet", "kubectl"):
            _install(binaries[name], root / "usr/bin" / name)
        ours = self.places.node
        _copy(ours / "10-ptp.conflist", root / "etc/cni/net.d/10-ptp.conflist")
        _copy(ours / "default-cni.yaml", root / "kind/manifests/default-cni.yaml")
        _copy(ours / "default-storage.yaml", root / "kind/manifests/default-storage.yaml")
        (root / "kind/version").write_text(f"v{version}", encoding="ascii")
        _install(ours / "setup.sh", root / "tmp/setup.sh")
        self.steps.run("setting up the node's root filesystem", ["chroot", root, "/tmp/setup.sh"])  # noqa: S108 - a path in the image
        (root / "tmp/setup.sh").unlink()
        return root

    def proxy(self, node: Path, binary: Path) -> Path:
        """kube-proxy with just the programs that it runs, and their libraries."""
        root = self.places.scratch / "proxy"
        shutil.rmtree(root, ignore_errors=True)
        for folder in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/local/bin", "run", "tmp"):
            (root / folder).mkdir(parents=True)
        for link in ("bin", "sbin", "lib", "lib64"):
            (root / link).symlink_to(f"usr/{link}")
        extensions = next(node.glob("usr/lib/*/xtables")).relative_to(node)
        shutil.copytree(node / extensions, root / extensions)
        plugins = [f"/{path.relative_to(node)}" for path in (node / extensions).glob("*.so")]
        listed = self.steps.ask(["chroot", node, "ldd", *_PROXY_PROGRAMS, *plugins])
        libraries = set(re.findall(r"(/lib\S*\.so[^\s:]*)", listed))
        for path in (*_PROXY_PROGRAMS, *(one for one in libraries if "/xtables/" not in one)):
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy((node / path.lstrip("/")).resolve(), target)
        (root / "usr/bin/sh").symlink_to("dash")
        _install(self.places.node / "iptables-wrapper", root / "usr/sbin/iptables-wrapper")
        for name in _PROXY_NAMES:
            (root / "usr/sbin" / name).symlink_to("iptables-wrapper")
        _install(binary, root / "usr/local/bin/kube-proxy")
        return root

    def _kind_files(self) -> Path:
        """The files of kind's own node image, from its Go module: checked against go.sum like everything else."""
        module = self.places.modules / "kind"
        caches = self.places.scratch / "go"
        go = find_go(module, caches / "toolchain", self.steps.environ, self.steps.report)
        said = self.steps.ask(
            [
                *("env", f"--chdir={module}"),
                *(f"{name}={value}" for name, value in build_environment({}, caches).items()),
                *(go, "mod", "download", "-json", "sigs.k8s.io/kind"),
            ],
            within=300,
        )
        folder = self.places.scratch / "kind-files"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(f"{json.loads(said)['Dir']}/images/base/files", folder)
        if not (folder / "usr/local/bin/entrypoint").is_file():
            raise ToolUnavailable(f"the Go module of kind has no images/base/files any more: see {module}/go.mod")
        return folder

    @staticmethod
    def _readable(root: Path) -> None:
        """A module cache's files are read-only and not executable; in an image each needs its own mode."""
        for folder in ("etc/containerd", "etc/systemd", "etc/sysctl.d", "etc/default", "kind"):
            for path in (root / folder, *(root / folder).rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() else 0o644)
        for program in (*(root / "kind/bin").iterdir(), *(root / "usr/local/bin").iterdir()):
            program.chmod(0o755)


def _install(source: Path, target: Path) -> None:
    _copy(source, target)
    target.chmod(0o755)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
