"""Build a tool from its pinned Go module: reproducible, resumable, and out of the user's own Go caches."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator_operator.local.errors import BuildFailed
from orchestrator_operator.local.toolchain import find_go

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator_operator.local.catalogue import Tool
    from orchestrator_operator.local.progress import Reporter

DISK_NEEDED = 5_000_000_000  # bytes that a cold build takes at its peak: modules, compiled packages and toolchain

# What to do about the reasons for which builds really fail, by the words in which Go says them.
_REMEDIES = (
    (
        ("no such host", "dial tcp", "i/o timeout", "connection refused", "TLS handshake", "proxyconnect", "lookup "),
        "the Go module proxy cannot be reached: set GOPROXY, or name a folder of binaries in {variable}",
    ),
    (("no space left on device",), "the disk is full: free about 5 GB below {folder}, or set ORCHESTRATOR_CACHE"),
    (("signal: killed", "cannot allocate memory", "out of memory"), "the build ran out of memory: it needs about 2 GB"),
    (("checksum mismatch", "SECURITY ERROR"), "a module is not the one that go.sum pins: look at what GOPROXY serves"),
)


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds tools below `folder`, which may be removed when all are built; a build that was cut short resumes."""

    folder: Path
    environ: Mapping[str, str]
    report: Reporter

    def build(self, tool: Tool, target: Path) -> None:
        """Build one binary to `target`; raises BuildFailed with the reason, the remedy and the place of the log."""
        self._require_disk()
        go = find_go(tool.module, self.folder / "toolchain", self.environ, self.report)
        log = self.folder / f"{tool.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [str(go), "build", "-mod=readonly", "-trimpath", "-v", *tool.build_arguments]
        command += ["-o", str(target), tool.package]
        environ = build_environment(self.environ, self._caches(tool))
        with self.report.task(f"building {tool.name} {tool.version}", tool.build_time) as tick:
            status = _run(command, tool.module, environ, log, tick)
        if status != 0:
            raise BuildFailed(_explain(tool, log.read_text(encoding="utf-8", errors="replace"), log))

    def forget(self, tool: Tool) -> None:
        """Remove what the build of a tool's module left: gigabytes that only another build would need."""
        shutil.rmtree(self._caches(tool), ignore_errors=True)

    def clean(self) -> None:
        """Remove everything, the toolchain included."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _caches(self, tool: Tool) -> Path:
        return self.folder / tool.module.name

    def _require_disk(self) -> None:
        if self.folder.exists():
            return  # a build that resumes has most of it already
        self.folder.mkdir(parents=True)
        free = shutil.disk_usage(self.folder).free
        if free < DISK_NEEDED:
            self.folder.rmdir()
            raise BuildFailed(
                f"building takes up to {DISK_NEEDED / 1e9:.0f} GB of disk for a while, and {self.folder.parent} has "
                f"only {free / 1e9:.1f} GB free: free some, or set ORCHESTRATOR_CACHE to a folder on a larger disk"
            )


def build_environment(environ: Mapping[str, str], caches: Path) -> dict[str, str]:
    """The environment of `go build`: the user's network settings, and nothing else that could change the result."""
    ours = {
        name: value for name, value in environ.items() if name not in {"GOOS", "GOARCH", "GOROOT", "GOBIN", "GOPATH"}
    }
    flags = [environ.get("GOFLAGS", ""), "-buildvcs=false", "-modcacherw"]  # read-only module caches cannot be removed
    return ours | {
        "CGO_ENABLED": "0",
        "GOCACHE": str(caches / "compiled"),
        "GOMODCACHE": str(caches / "modules"),
        "GOPATH": str(caches / "path"),
        "GOFLAGS": " ".join(flag for flag in flags if flag),
        "GOTOOLCHAIN": "local",  # never download another Go behind our back
        "GOWORK": "off",  # a go.work in a folder above is none of ours
    }


def _run(command: list[str], folder: Path, environ: dict[str, str], log: Path, tick: Callable[[str], None]) -> int:
    """Run a build in a process group of its own, which ends with us, however we end."""
    with log.open("wb") as output, log.open("rb") as reader:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        seen = BuildLog()
        try:
            while True:
                try:
                    return process.wait(timeout=0.5)
                except subprocess.TimeoutExpired:
                    seen.feed(reader.read())
                    tick(seen.summary())
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@dataclass(slots=True)
class BuildLog:
    """Counts what `go build -v` says it did."""

    counts: Counter[str] = field(default_factory=Counter)
    rest: bytes = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the log; lines may be cut anywhere."""
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        self.counts.update("modules" if line.startswith(b"go: downloading") else "packages" for line in lines)

    def summary(self) -> str:
        """`120 modules downloaded, 812 packages compiled`."""
        verbs = {"modules": "downloaded", "packages": "compiled"}
        return ", ".join(f"{self.counts[what]} {what} {verb}" for what, verb in verbs.items() if self.counts[what])


def _explain(tool: Tool, output: str, log: Path) -> str:
    lines = [line for line in output.splitlines() if not line.startswith("go: downloading")]
    for words, remedy in _REMEDIES:
        if any(word in output for word in words):
            advice = remedy.format(variable=tool.assets_variable, folder=log.parent)
            break
    else:
        advice = "what Go said is below"
    return f"building {tool.name} {tool.version} failed: {advice} (whole log: {log})\n" + "\n".join(lines[-15:])
