"""Argo Rollouts' controller and its CRDs, both from the Go module that go.mod pins, kept by version in our cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path

from orchestrator_operator.local.catalogue import Release, Tool, required_version
from orchestrator_operator.local.errors import BuildFailed
from orchestrator_operator.local.gobuild import build_environment
from orchestrator_operator.local.places import cache_root
from orchestrator_operator.local.progress import ConsoleReporter
from orchestrator_operator.local.sources import Source
from orchestrator_operator.local.toolchain import find_go
from orchestrator_operator.local.tools import Toolbox

ASSETS = "ORCHESTRATOR_ARGO_ROLLOUTS_ASSETS"
_MODULE = Path(__file__).parent / "go" / "argo-rollouts"
_REPOSITORY = "github.com/argoproj/argo-rollouts"


def tool() -> Tool:
    """What it is; its version stands in its go.mod alone."""
    version = required_version((_MODULE / "go.mod").read_text(encoding="utf-8"), _REPOSITORY)
    return Tool(
        name="rollouts-controller",
        version=version,
        assets_variable=ASSETS,
        version_arguments=("--version",),
        module=_MODULE,
        package=f"{_REPOSITORY}/cmd/rollouts-controller",
        build_arguments=("-ldflags", f"-s -w -X {_REPOSITORY}/utils/version.version={version}"),
        build_time=timedelta(minutes=8),
        release=Release("", ""),  # there is none: the project publishes the controller as an image only
    )


def binary() -> Path:
    """The controller; built on the first use."""
    sources = (Source.ENVIRONMENT, Source.CACHE, Source.BUILD)
    return Toolbox(report=ConsoleReporter(), allowed=sources).get([tool()])["rollouts-controller"].path


def crds() -> Path:
    """The folder of its CRDs; taken out of the module on the first use. Raises BuildFailed with what Go said."""
    wanted = cache_root() / "tools" / f"argo-rollouts-crds-{tool().version}"
    if wanted.is_dir():
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wanted.parent) as scratch:
        folder = Path(scratch)
        go = find_go(_MODULE, folder / "toolchain", os.environ, ConsoleReporter())
        done = subprocess.run(
            [go, "mod", "download", "-json", _REPOSITORY],
            cwd=_MODULE,
            env=build_environment(os.environ, folder),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BuildFailed(f"the module of Argo Rollouts could not be had: {done.stderr or done.stdout}")
        manifests = Path(json.loads(done.stdout)["Dir"]) / "manifests" / "crds"
        shutil.copytree(manifests, folder / "crds", ignore=shutil.ignore_patterns("kustomization.yaml"))
        (folder / "crds").rename(wanted)
    return wanted
