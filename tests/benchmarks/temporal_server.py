"""Temporal's development server: had as the control plane's binaries are, from the release or from its Go module."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from orchestrator_operator.local.catalogue import Release, Tool, architecture, required_version
from orchestrator_operator.local.progress import ConsoleReporter
from orchestrator_operator.local.tools import Toolbox

ASSETS = "ORCHESTRATOR_TEMPORAL_ASSETS"
_MODULE = Path(__file__).parent / "go" / "temporal"
_REPOSITORY = "github.com/temporalio/cli"


def tool() -> Tool:
    """What it is; its version stands in its go.mod alone."""
    version = required_version((_MODULE / "go.mod").read_text(encoding="utf-8"), _REPOSITORY)
    stem = f"temporal_cli_{version}_linux_{architecture()}"
    base = f"https://{_REPOSITORY}/releases/download/v{version}"
    return Tool(
        name="temporal",
        version=version,
        assets_variable=ASSETS,
        version_arguments=("--version",),
        module=_MODULE,
        package=f"{_REPOSITORY}/cmd/temporal",
        build_arguments=("-ldflags", f"-s -w -X {_REPOSITORY}/temporalcli.Version={version}"),
        build_time=timedelta(minutes=4),
        release=Release(f"{base}/{stem}.tar.gz", f"{base}/checksums.txt", "temporal"),
    )


def binary() -> Path:
    """Its path; downloaded or built on the first use."""
    found = Toolbox(report=ConsoleReporter()).get([tool()])
    return found["temporal"].path
