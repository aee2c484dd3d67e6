"""Argo Rollouts' controller and its CRDs, both from the Go module that go.mod pins, kept by version in our cache."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from orchestrator_operator.local.catalogue import Release, Tool, required_version
from orchestrator_operator.local.progress import ConsoleReporter
from orchestrator_operator.local.sources import Source
from orchestrator_operator.local.tools import Toolbox

from tests.benchmarks import go_module

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
    return go_module.folder(_MODULE, _REPOSITORY, "manifests/crds", f"argo-rollouts-crds-{tool().version}")
