from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.local import sources
from orchestrator_operator.local.errors import ToolUnavailable
from orchestrator_operator.local.locking import locked
from orchestrator_operator.local.sources import Source
from orchestrator_operator.local.tools import Toolbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator_operator.local.catalogue import Tool

    from tests.unit.local.conftest import Notes


def test_the_environment_s_folder_wins_over_cache_and_path(
    tool: Tool, tmp_path: Path, script: Callable[[Path, str], Path]
) -> None:
    chosen = script(tmp_path / "mine" / "thing", "echo thing v1.30.0")
    toolbox = Toolbox(root=tmp_path, environ={"THING_ASSETS": str(chosen.parent), "PATH": str(tmp_path / "bin")})
    script(sources.cached_path(tool, toolbox.folder), "echo 1.36.3")
    script(tmp_path / "bin" / "thing", "echo 1.36.3")
    found = toolbox.get([tool])["thing"]
    assert (found.path, found.source, found.version) == (chosen, Source.ENVIRONMENT, "1.30.0")


def test_a_folder_without_the_tool_is_passed_over(tool: Tool, tmp_path: Path) -> None:
    assert sources.from_environment(tool, {"THING_ASSETS": str(tmp_path)}) is None


def test_a_folder_that_does_not_exist_is_an_error_that_names_the_variable(tool: Tool, tmp_path: Path) -> None:
    with pytest.raises(ToolUnavailable, match="THING_ASSETS"):
        sources.from_environment(tool, {"THING_ASSETS": str(tmp_path / "nowhere")})


def test_the_cache_wins_over_path(tool: Tool, tmp_path: Path, script: Callable[[Path, str], Path]) -> None:
    toolbox = Toolbox(root=tmp_path, environ={"PATH": str(tmp_path / "bin")})
    kept = script(sources.cached_path(tool, toolbox.folder), "echo 1.36.3")
    script(tmp_path / "bin" / "thing", "echo 1.36.3")
    assert toolbox.get([tool])["thing"].path == kept


def test_the_cache_of_another_version_is_not_taken(
    tool: Tool, tmp_path: Path, script: Callable[[Path, str], Path]
) -> None:
    script(sources.cached_path(replace(tool, version="1.35.0"), tmp_path), "echo 1.35.0")
    assert sources.from_cache(tool, tmp_path) is None


def test_path_is_taken_with_the_wanted_minor_version(
    tool: Tool, tmp_path: Path, script: Callable[[Path, str], Path]
) -> None:
    path = script(tmp_path / "thing", "echo thing v1.36.9 >&2")
    found, passed_over = sources.from_path(tool, {"PATH": str(tmp_path)})
    assert found is not None
    assert (found.path, found.version, passed_over) == (path, "1.36.9", None)


@pytest.mark.parametrize(
    ("body", "reason"),
    [("echo v1.35.3", "version 1.35.3, not 1.36"), ("exit 3", "exit status 3"), ("echo", "no version")],
)
def test_path_is_passed_over_with_a_reason(
    tool: Tool, tmp_path: Path, script: Callable[[Path, str], Path], body: str, reason: str
) -> None:
    script(tmp_path / "thing", body)
    found, passed_over = sources.from_path(tool, {"PATH": str(tmp_path)})
    assert found is None
    assert reason in str(passed_over)


def test_when_no_source_is_left_the_message_says_what_to_do(tool: Tool, tmp_path: Path) -> None:
    toolbox = Toolbox(root=tmp_path, environ={"PATH": ""}, allowed=(Source.CACHE, Source.PATH))
    with pytest.raises(ToolUnavailable, match=r"cache, path.*allow `build`.*THING_ASSETS"):
        toolbox.get([tool])


def test_what_another_process_got_meanwhile_is_taken_from_the_cache(
    tool: Tool, tmp_path: Path, script: Callable[[Path, str], Path], notes: Notes
) -> None:
    toolbox = Toolbox(root=tmp_path, environ={"PATH": os.defpath}, report=notes, allowed=(Source.CACHE,))
    with locked(tmp_path / "tools.lock", timeout=1):
        found: list[Source] = []
        other = threading.Thread(target=lambda: found.append(toolbox.get([tool])["thing"].source))
        other.start()
        while not any("waiting" in line for line in notes.lines):
            other.join(0.01)
        script(sources.cached_path(tool, toolbox.folder), "echo 1.36.3")
    other.join(30)
    assert found == [Source.CACHE]
