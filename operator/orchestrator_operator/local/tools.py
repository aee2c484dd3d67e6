"""Get the binaries: ask each source in turn, and keep what was downloaded or built for the next time."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator_operator.local import catalogue, download, sources
from orchestrator_operator.local.errors import BuildFailed, ToolUnavailable
from orchestrator_operator.local.gobuild import Builder
from orchestrator_operator.local.locking import locked
from orchestrator_operator.local.places import cache_root
from orchestrator_operator.local.progress import Reporter, Silent
from orchestrator_operator.local.sources import Found, Source

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from orchestrator_operator.local.catalogue import Tool

_PATIENCE = 3600.0  # seconds to wait for another process that builds


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The binaries of the local control plane, and how to get them."""

    root: Path = field(default_factory=cache_root)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    report: Reporter = field(default_factory=Silent)
    allowed: Collection[Source] = tuple(Source)

    @property
    def folder(self) -> Path:
        """Where downloaded and built binaries are kept."""
        return self.root / "tools"

    @property
    def _scratch(self) -> Path:
        return self.root / "downloads"

    def get(self, tools: Sequence[Tool] | None = None) -> dict[str, Found]:
        """Every tool (all of the catalogue by default) by name; ToolUnavailable lists what was tried for one.

        May take minutes and gigabytes on the first use, shown by `report`. Safe to interrupt, and to run twice at once.
        """
        tools = catalogue.load() if tools is None else tools
        found = {tool.name: self._present(tool) for tool in tools}
        missing = [tool for tool in tools if found[tool.name] is None]
        if missing:
            found |= self._make(missing)
        return {name: binary for name, binary in found.items() if binary is not None}

    def _present(self, tool: Tool) -> Found | None:
        if Source.ENVIRONMENT in self.allowed and (found := sources.from_environment(tool, self.environ)):
            return found
        if Source.CACHE in self.allowed and (found := sources.from_cache(tool, self.folder)):
            return found
        if Source.PATH in self.allowed:
            found, passed_over = sources.from_path(tool, self.environ)
            if passed_over:
                self.report.note(passed_over)
            return found
        return None

    def _make(self, missing: Sequence[Tool]) -> dict[str, Found | None]:
        """Download or build what is missing, one process at a time."""
        said: list[str] = []

        def waiting() -> None:
            if not said:
                said.append("another process is getting the same tools: waiting for it")
                self.report.note(said[0])

        with locked(self.root / "tools.lock", timeout=_PATIENCE, waiting=waiting):
            builder = Builder(self.root / "build", self.environ, self.report)
            found: dict[str, Found | None] = {}
            for index, tool in enumerate(missing):
                # Asked again: the process that we waited for may have left it in the cache.
                found[tool.name] = sources.from_cache(tool, self.folder) or self._obtain(tool, builder)
                if not any(later.module == tool.module for later in missing[index + 1 :]):
                    builder.forget(tool)
            builder.clean()
            shutil.rmtree(self._scratch, ignore_errors=True)
        return found

    def _obtain(self, tool: Tool, builder: Builder) -> Found:
        """Download a tool, else build it, and move it into the cache in one step."""
        target = sources.cached_path(tool, self.folder)
        partial = target.with_name(f".{tool.name}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        tried: list[str] = []
        try:
            source = self._download(tool, partial, tried) or self._build(tool, partial, builder, tried)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return Found(tool, target, tool.version, source)

    def _download(self, tool: Tool, partial: Path, tried: list[str]) -> Source | None:
        release = tool.release
        if release is None or Source.DOWNLOAD not in self.allowed:
            return None
        try:
            download.require_reachable(release)
            with self.report.task(f"downloading {tool.name} {tool.version}") as tick:
                download.fetch(release, partial, self._scratch, tick)
        except ToolUnavailable as error:
            tried.append(str(error))
            self.report.note(f"{tool.name}: {error}")
            return None
        return Source.DOWNLOAD

    def _build(self, tool: Tool, partial: Path, builder: Builder, tried: list[str]) -> Source:
        if Source.BUILD not in self.allowed:
            raise ToolUnavailable(_nowhere(tool, self.allowed, tried))
        try:
            builder.build(tool, partial)
        except BuildFailed as error:
            raise BuildFailed("\n".join([*tried, str(error)])) from error
        except ToolUnavailable as error:
            raise ToolUnavailable("\n".join([*tried, str(error)])) from error
        return Source.BUILD


def _nowhere(tool: Tool, allowed: Collection[Source], tried: Sequence[str]) -> str:
    asked = ", ".join(source for source in Source if source in allowed)
    summary = (
        f"{tool.name} {tool.version} could not be had from the sources that were allowed ({asked}): "
        f"allow `build`, or put the binary into a folder and name it in {tool.assets_variable}"
    )
    return "\n".join([summary, *tried])
