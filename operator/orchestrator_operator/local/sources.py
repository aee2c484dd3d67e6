"""Binaries that are there already: named by an environment variable, in our cache, or on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator_operator.local.catalogue import parse_version
from orchestrator_operator.local.errors import ToolUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.local.catalogue import Tool


class Source(StrEnum):
    """Where a binary comes from; the members stand in the order in which they are asked."""

    ENVIRONMENT = "environment"
    CACHE = "cache"
    PATH = "path"
    DOWNLOAD = "download"
    BUILD = "build"


@dataclass(frozen=True, slots=True)
class Found:
    """A usable binary, its version and where it came from."""

    tool: Tool
    path: Path
    version: str
    source: Source


def from_environment(tool: Tool, environ: Mapping[str, str]) -> Found | None:
    """The binary in the folder that the tool's variable names.

    Whatever its version: a person chose it. A folder without it is no error (envtest's has no controller-manager),
    a folder that does not exist is: a slip of the pen must not end in a download.
    """
    folder = environ.get(tool.assets_variable)
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ToolUnavailable(f"{tool.assets_variable}={folder} is no folder: correct the variable, or unset it")
    path = (Path(folder) / tool.name).absolute()
    return _probed(tool, path, Source.ENVIRONMENT) if _executable(path) else None


def from_cache(tool: Tool, tools_folder: Path) -> Found | None:
    """The binary in our cache. It got there complete (by a rename) and its folder bears its version: no need to ask."""
    path = cached_path(tool, tools_folder)
    return Found(tool, path, tool.version, Source.CACHE) if _executable(path) else None


def from_path(tool: Tool, environ: Mapping[str, str]) -> tuple[Found | None, str | None]:
    """The binary on PATH if it has the wanted minor version; else None and, where one was passed over, why."""
    text = shutil.which(tool.name, path=environ.get("PATH", os.defpath))
    if text is None:
        return None, None
    path = Path(text).absolute()
    wanted = ".".join(str(part) for part in tool.minor)
    try:
        found = _probed(tool, path, Source.PATH)
    except ToolUnavailable as error:
        return None, str(error)
    if parse_version(found.version)[:2] != tool.minor:
        return None, f"{path} is version {found.version}, not {wanted}: passed over"
    return found, None


def cached_path(tool: Tool, tools_folder: Path) -> Path:
    """Where the cache keeps a tool: `<folder>/etcd-3.6.8/etcd`."""
    return tools_folder / tool.folder / tool.name


def version_of(tool: Tool, path: Path) -> str:
    """The version that a binary says it has; ToolUnavailable if it cannot be run or says none."""
    try:
        answer = subprocess.run(
            [path, *tool.version_arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return ".".join(str(part) for part in parse_version(answer.stdout + answer.stderr))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        command = " ".join([str(path), *tool.version_arguments])
        raise ToolUnavailable(
            f"`{command}` does not tell a version ({error}): remove that file, or replace it"
        ) from error


def _probed(tool: Tool, path: Path, source: Source) -> Found:
    return Found(tool, path, version_of(tool, path), source)


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
