"""`orchestrator lint`: every problem and every warning, from files and from standard input."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.situations import node

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Shell

GOOD = {"nodes": [node("a")]}
WARNED = {"nodes": [node("go", type_="signal")]}
BAD = {"nodes": [node("a", "b"), node("c", type_="dance")]}


def document(spec: dict[str, Any], name: str = "flow") -> str:
    return json.dumps(
        {"apiVersion": "orchestrator.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec}
    )


def written(shell: Shell, **specs: dict[str, Any]) -> list[Path]:
    return [shell.write(f"{name}.json", document(spec, name)) for name, spec in specs.items()]


def test_what_is_good_says_so(shell: Shell) -> None:
    answer = shell("lint", *written(shell, good=GOOD))
    assert (answer.code, answer.out) == (0, "1 file: 0 errors, 0 warnings\n")


def test_every_problem_is_told_with_its_file_and_path(shell: Shell) -> None:
    answer = shell("lint", *written(shell, good=GOOD, bad=BAD))
    lines = answer.out.splitlines()
    assert (answer.code, lines[-1]) == (2, "2 files: 2 errors, 0 warnings")
    assert [line.split(": ")[1:3] for line in lines[:-1]] == [
        ["error", "spec.nodes[0].needs[0]"],
        ["error", "spec.nodes[1].type"],
    ]
    assert all(line.startswith(str(shell.folder / "bad.json")) for line in lines[:-1])


def test_a_warning_names_its_rule_and_counts_only_if_strict(shell: Shell) -> None:
    (path,) = written(shell, warned=WARNED)
    answer = shell("lint", path)
    assert (answer.code, answer.out.splitlines()[0].endswith("[endless-wait]")) == (0, True)
    assert shell("lint", "--strict", path).code == 1


def test_files_that_are_named_together_know_each_other(shell: Shell) -> None:
    do = {"type": "workflow", "with": {"workflow": "child"}}
    parent = {"nodes": [node("each", type_="map", with_={"items": [], "concurrency": 9, "do": do})]}
    child = {"concurrency": {"limit": 1}, **GOOD}
    assert "[children-over-limit]" in shell("lint", *written(shell, parent=parent, child=child)).out


@pytest.mark.parametrize(
    ("text", "code"), [(document(GOOD), 0), (document(BAD), 2), ("", 2), ("{", 2), ("- a\n- b", 2)]
)
def test_standard_input_is_a_file_too(shell: Shell, monkeypatch: pytest.MonkeyPatch, text: str, code: int) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    answer = shell("lint", "-")
    assert answer.code == code
    assert code == 0 or answer.out.startswith("standard input: error: ")


def test_json_is_for_programs(shell: Shell) -> None:
    good, warned, bad = shell("lint", *written(shell, good=GOOD, warned=WARNED, bad=BAD), "--output", "json").json()
    assert (good["workflow"], good["problems"]) == ("default/good", [])
    assert warned["problems"][0] | {"message": ""} == {
        "severity": "warning",
        "rule": "endless-wait",
        "path": "spec.nodes[0].with",
        "message": "",
    }
    assert (bad["revision"], [problem["severity"] for problem in bad["problems"]]) == (None, ["error", "error"])


def test_a_file_that_is_not_there_is_an_error_among_others(shell: Shell) -> None:
    answer = shell("lint", "nowhere.yaml", *written(shell, good=GOOD))
    assert (answer.code, answer.out.splitlines()[-1]) == (2, "2 files: 1 error, 0 warnings")
    assert answer.out.startswith("nowhere.yaml: error: cannot be read")


def test_the_samples_are_clean(shell: Shell) -> None:
    from tests.unit.cli.conftest import ROOT

    samples = [path for path in (ROOT / "deploy/samples").glob("*.yaml") if "kind: Workflow" in path.read_text()]
    assert samples
    assert shell("lint", "--strict", *samples).code == 0
