"""The programs of a node and kind itself, built from pinned Go modules by the machinery of the local control plane."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator_operator.local import Source, Toolbox, catalogue
from orchestrator_operator.local.catalogue import Release, Tool, architecture, required_version
from orchestrator_operator.local.places import go_modules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator_operator.local import Reporter

KIND_ASSETS = "ORCHESTRATOR_KIND_ASSETS"

_CONTAINERD = "github.com/containerd/containerd/v2"


def kind(modules: Path) -> Tool:
    """The command that makes clusters; everything else depends on it alone where images can be pulled."""
    version = _version(modules / "kind", "sigs.k8s.io/kind")
    url = f"https://github.com/kubernetes-sigs/kind/releases/download/v{version}/kind-linux-{architecture()}"
    return Tool(
        name="kind",
        version=version,
        assets_variable=KIND_ASSETS,
        version_arguments=("version",),
        module=modules / "kind",
        package="sigs.k8s.io/kind",
        build_arguments=("-ldflags", "-s -w"),
        build_time=timedelta(seconds=15),
        release=Release(url=url, checksums=f"{url}.sha256sum"),
    )


def node(modules: Path) -> tuple[Tool, ...]:
    """What a node runs, in the order in which it is built."""
    kubernetes = catalogue.kubernetes(go_modules() / "kubernetes", nodes=True)
    return (*_containerd(modules / "containerd"), _coredns(modules / "coredns"), _pause(modules / "pause"), *kubernetes)


def get_kind(modules: Path, report: Reporter) -> Path:
    """kind, from wherever it is to be had. Raises ToolUnavailable."""
    return Toolbox(report=report).get([kind(modules)])["kind"].path


def get_node(modules: Path, report: Reporter) -> Mapping[str, Path]:
    """The node's programs by name, of exactly the pinned versions: from the cache, or built. Raises BuildFailed."""
    toolbox = Toolbox(report=report, allowed=(Source.CACHE, Source.BUILD))
    return {name: found.path for name, found in toolbox.get(node(modules)).items()}


def _containerd(module: Path) -> Sequence[Tool]:
    version = _version(module, _CONTAINERD)
    stamps = f"-s -w -X {_CONTAINERD}/version.Version=v{version}"
    # Snapshotters that need C libraries or kernels of their own.
    tags = "no_btrfs no_devmapper no_zfs no_aufs"
    return [
        _built(name, version, module, f"{_CONTAINERD}/cmd/{name}", ("-tags", tags, "-ldflags", stamps), minutes=minutes)
        for name, minutes in (("containerd", 1.5), ("ctr", 0.1), ("containerd-shim-runc-v2", 0.1))
    ]


def _coredns(module: Path) -> Tool:
    version = _version(module, "github.com/coredns/coredns")
    return _built("coredns", version, module, ".", ("-ldflags", "-s -w"), minutes=2)


def _pause(module: Path) -> Tool:
    return _built("pause", "3.10.0", module, ".", ("-ldflags", "-s -w"), minutes=0.1)


def _built(name: str, version: str, module: Path, package: str, arguments: tuple[str, ...], *, minutes: float) -> Tool:
    """A program that is only ever built: each comes from a release of its own shape, and all of them in two minutes."""
    return Tool(
        name=name,
        version=version,
        assets_variable=KIND_ASSETS,
        version_arguments=("--version",),
        module=module,
        package=package,
        build_arguments=arguments,
        build_time=timedelta(minutes=minutes),
        release=None,
    )


def _version(module: Path, library: str) -> str:
    return required_version((module / "go.mod").read_text(encoding="utf-8"), library)
