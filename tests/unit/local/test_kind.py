"""kind clusters without a cluster: what is asked of the machine, and what a tag stands for."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.kind import capabilities
from orchestrator_operator.kind.host import Host
from orchestrator_operator.kind.places import fingerprint
from orchestrator_operator.kind.steps import StepFailed, Steps
from orchestrator_operator.local import Silent, ToolUnavailable

if TYPE_CHECKING:
    from pathlib import Path


def steps(tmp_path: Path, path: str) -> Steps:
    return Steps(Silent(), tmp_path / "logs", {"PATH": path})


def test_the_capability_that_the_machine_withholds_is_named() -> None:
    assert capabilities.missing("CapBnd:\t000001fffeffffff\n") == ["CAP_SYS_RESOURCE"]
    assert capabilities.missing("CapBnd:\t000001ffffffffff\n") == []


def test_the_wrapper_strikes_it_out_of_what_runc_is_asked_for(tmp_path: Path) -> None:
    asked = {"process": {"capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_CHOWN"]}}}
    (tmp_path / "config.json").write_text(json.dumps(asked, separators=(",", ":")))
    script = tmp_path / "runc"
    script.write_text(capabilities.wrapper(tmp_path / "true", ["CAP_SYS_RESOURCE"]))
    (tmp_path / "true").symlink_to("/bin/true")
    subprocess.run(["sh", script, "create", "--bundle", tmp_path, "name"], check=True)
    left = json.loads((tmp_path / "config.json").read_text())["process"]["capabilities"]
    assert left == {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]}


def test_nothing_is_installed_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "_which", lambda *_: None)  # a machine with nothing on it
    with pytest.raises(ToolUnavailable, match="ORCHESTRATOR_KIND_INSTALL=yes") as refused:
        Host(steps(tmp_path, str(tmp_path))).require(["docker"])
    assert "apt-get install --no-install-recommends docker.io" in str(refused.value)


def test_a_program_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="out of luck"):
        steps(tmp_path, os.defpath).run("trying", ["sh", "-c", "echo out of luck >&2; exit 3"])


def test_a_tag_changes_with_a_name_a_content_and_a_word(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    first = fingerprint(tmp_path, [file], "x")
    assert fingerprint(tmp_path, [file], "x") == first
    assert fingerprint(tmp_path, [file], "y") != first
    file.write_text("2")
    assert fingerprint(tmp_path, [file], "x") != first
