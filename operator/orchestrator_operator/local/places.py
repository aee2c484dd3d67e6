"""Where things live: the user's cache, and the tools-only Go modules that the package brings along."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from orchestrator_operator.local.errors import ToolUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping


def cache_root(environ: Mapping[str, str] | None = None) -> Path:
    """`$ORCHESTRATOR_CACHE`, or the platform's cache folder for `orchestrator` (`~/.cache/orchestrator`)."""
    chosen = (os.environ if environ is None else environ).get("ORCHESTRATOR_CACHE")
    path = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("orchestrator")
    return path.absolute()


def state_folder(name: str = "default", root: Path | None = None) -> Path:
    """The folder that holds everything of the control plane of that name."""
    return (root or cache_root()) / "local" / name


def go_modules() -> Path:
    """The folder of the tools-only `go.mod` files: beside this file in a wheel, `deploy/local/go` in a checkout."""
    here = Path(__file__).resolve()
    for candidate in (here.parent / "go", here.parents[3] / "deploy" / "local" / "go"):
        if (candidate / "kubernetes" / "go.mod").is_file():
            return candidate
    raise ToolUnavailable(
        f"the pinned go.mod files are neither in {here.parent / 'go'} nor in a checkout's deploy/local/go: "
        "the installation is incomplete, install orchestrator again"
    )
