"""What the control plane is made of: six binaries, their versions, and how each can be had; and a tool of the tests.

The versions stand in the `go.mod` files only, so an upgrade is a change of those and nothing else.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator_operator.local.errors import ToolUnavailable
from orchestrator_operator.local.places import go_modules

if TYPE_CHECKING:
    from pathlib import Path

KUBERNETES_ASSETS = "KUBEBUILDER_ASSETS"
PROMETHEUS_ASSETS = "ORCHESTRATOR_PROMETHEUS_ASSETS"
TOXIPROXY_ASSETS = "ORCHESTRATOR_TOXIPROXY_ASSETS"

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class Release:
    """An official build: its URL, the URL of its published SHA-256, and the file's name within an archive."""

    url: str
    checksums: str
    member: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """One binary: what it is, and everything that is known about getting it."""

    name: str
    version: str  # as its `--version` says, without a leading v: "1.36.3"
    assets_variable: str  # the environment variable that may name a folder with this binary in it
    version_arguments: tuple[str, ...]
    module: Path  # the folder of the go.mod that pins it
    package: str  # the Go package that builds it
    build_arguments: tuple[str, ...]
    build_time: timedelta  # cold, on two cores: what the progress display expects
    release: Release | None  # None: it is built, never downloaded

    @property
    def folder(self) -> str:
        """The name of its folder in the cache: one for each version, so that an upgrade never finds the old one."""
        return f"{self.name}-{self.version}"

    @property
    def minor(self) -> tuple[int, int]:
        """Major and minor version: what a binary found on PATH must have to be taken."""
        return parse_version(self.version)[:2]


def parse_version(text: str) -> tuple[int, int, int]:
    """The first `1.2.3` (with or without a leading v) in a text; ValueError where there is none."""
    match = re.search(r"(?<![\d.])v?(\d+)\.(\d+)\.(\d+)", text)
    if match is None:
        raise ValueError(f"no version in {text[:200]!r}")
    return int(match[1]), int(match[2]), int(match[3])


def required_version(go_mod: str, module: str) -> str:
    """The version that a go.mod requires of a module, without the leading v; ValueError where it does not."""
    match = re.search(rf"^(?:require)?\s*{re.escape(module)} v(\S+)", go_mod, re.MULTILINE)
    if match is None:
        raise ValueError(f"go.mod does not require {module}")
    return match[1]


def prometheus_release(module_version: str) -> str:
    """Prometheus' release for its Go module's version: v0.315.0 is the library's number for release 3.15.0."""
    _, minor, patch = parse_version(module_version)
    return f"{minor // 100}.{minor % 100}.{patch}"


def architecture(machine: str | None = None) -> str:
    """This machine in Go's words: `amd64` or `arm64`."""
    machine = machine or platform.machine()
    try:
        return _ARCHITECTURES[machine.lower()]
    except KeyError:
        raise ToolUnavailable(
            f"no local control plane for the processor {machine!r}: only amd64 and arm64 are supported"
        ) from None


def load(modules: Path | None = None) -> tuple[Tool, ...]:
    """The control plane's tools, in the order in which they are built (the small ones first)."""
    modules = modules or go_modules()
    arch = architecture()
    return (*_kubernetes(modules / "kubernetes", arch), *_prometheus(modules / "prometheus", arch))


def kubernetes(module: Path, *, nodes: bool = False) -> tuple[Tool, ...]:
    """Etcd and Kubernetes' programs from one go.mod; with `nodes` also those that only a real node runs."""
    return _kubernetes(module, architecture(), nodes=nodes)


def toxiproxy(modules: Path | None = None) -> Tool:
    """A proxy that breaks connections on request. The tests under faults get it; no control plane needs it."""
    module, arch = (modules or go_modules()) / "toxiproxy", architecture()
    library = "github.com/Shopify/toxiproxy/v2"
    version = required_version((module / "go.mod").read_text(encoding="utf-8"), library)
    base = f"https://github.com/Shopify/toxiproxy/releases/download/v{version}"
    return Tool(
        name="toxiproxy-server",
        version=version,
        assets_variable=TOXIPROXY_ASSETS,
        version_arguments=("-version",),
        module=module,
        package=f"{library}/cmd/server",
        build_arguments=("-ldflags", f"-s -w -X {library}.Version={version}"),
        build_time=timedelta(minutes=0.5),
        release=Release(f"{base}/toxiproxy-server-linux-{arch}", f"{base}/checksums.txt"),
    )


def _kubernetes(module: Path, arch: str, *, nodes: bool = False) -> tuple[Tool, ...]:
    pins = (module / "go.mod").read_text(encoding="utf-8")
    etcd, kubernetes = (required_version(pins, name) for name in ("go.etcd.io/etcd/server/v3", "k8s.io/kubernetes"))
    major, minor, _ = parse_version(kubernetes)
    variable = "k8s.io/component-base/version"  # without these, the API server says it is v0.0.0-master
    stamps = (
        f"-s -w -X {variable}.gitVersion=v{kubernetes} -X {variable}.gitMajor={major} -X {variable}.gitMinor={minor}"
    )
    etcd_release = f"https://github.com/etcd-io/etcd/releases/download/v{etcd}"

    def kube(name: str, minutes: float, version_arguments: tuple[str, ...] = ("--version",)) -> Tool:
        url = f"https://dl.k8s.io/release/v{kubernetes}/bin/linux/{arch}/{name}"
        return Tool(
            name=name,
            version=kubernetes,
            assets_variable=KUBERNETES_ASSETS,
            version_arguments=version_arguments,
            module=module,
            package=f"k8s.io/kubernetes/cmd/{name}",
            build_arguments=("-ldflags", stamps),
            build_time=timedelta(minutes=minutes),
            release=Release(url=url, checksums=f"{url}.sha256"),
        )

    return (
        Tool(
            name="etcd",
            version=etcd,
            assets_variable=KUBERNETES_ASSETS,
            version_arguments=("--version",),
            module=module,
            package="go.etcd.io/etcd/server/v3",
            build_arguments=("-ldflags", "-s -w"),
            build_time=timedelta(minutes=1),
            release=Release(
                url=f"{etcd_release}/etcd-v{etcd}-linux-{arch}.tar.gz",
                checksums=f"{etcd_release}/SHA256SUMS",
                member=f"etcd-v{etcd}-linux-{arch}/etcd",
            ),
        ),
        kube("kubectl", 1, ("version", "--client")),
        kube("kube-apiserver", 5),
        kube("kube-controller-manager", 2),
        *(
            (kube("kube-scheduler", 1), kube("kube-proxy", 1), kube("kubelet", 2), kube("kubeadm", 1, ("version",)))
            if nodes
            else ()
        ),
    )


def _prometheus(module: Path, arch: str) -> tuple[Tool, ...]:
    pins = (module / "go.mod").read_text(encoding="utf-8")
    version = prometheus_release(required_version(pins, "github.com/prometheus/prometheus"))
    base = f"https://github.com/prometheus/prometheus/releases/download/v{version}"
    archive = f"prometheus-{version}.linux-{arch}"

    def tool(name: str, minutes: float) -> Tool:
        return Tool(
            name=name,
            version=version,
            assets_variable=PROMETHEUS_ASSETS,
            version_arguments=("--version",),
            module=module,
            package=f"github.com/prometheus/prometheus/cmd/{name}",
            # The discovery plugins of a dozen clouds are most of what there is to compile; we scrape static targets.
            build_arguments=(
                *("-tags", "remove_all_sd"),
                *("-ldflags", f"-s -w -X github.com/prometheus/common/version.Version={version}"),
            ),
            build_time=timedelta(minutes=minutes),
            release=Release(f"{base}/{archive}.tar.gz", f"{base}/sha256sums.txt", f"{archive}/{name}"),
        )

    return tool("prometheus", 4), tool("promtool", 0.5)
