"""Files out of a pinned Go module, kept in our cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from orchestrator_operator.local.errors import BuildFailed
from orchestrator_operator.local.gobuild import build_environment
from orchestrator_operator.local.places import cache_root
from orchestrator_operator.local.progress import ConsoleReporter
from orchestrator_operator.local.toolchain import find_go


def folder(pinned_in: Path, module: str, inside: str, name: str) -> Path:
    """The folder `inside` of a module that a go.mod pins, without its kustomization; taken out on the first use.

    It is kept under `name`, which therefore bears the module's version. Raises BuildFailed with what Go said.
    """
    wanted = cache_root() / "tools" / name
    if wanted.is_dir():
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wanted.parent) as scratch:
        place = Path(scratch)
        go = find_go(pinned_in, place / "toolchain", os.environ, ConsoleReporter())
        done = subprocess.run(
            [go, "mod", "download", "-json", module],
            cwd=pinned_in,
            env=build_environment(os.environ, place),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BuildFailed(f"the module {module} could not be had: {done.stderr or done.stdout}")
        found = Path(json.loads(done.stdout)["Dir"]) / inside
        shutil.copytree(found, place / "found", ignore=shutil.ignore_patterns("kustomization.yaml", "README.md"))
        (place / "found").rename(wanted)
    return wanted
