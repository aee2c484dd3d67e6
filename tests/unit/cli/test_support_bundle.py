"""`orchestrator support-bundle` as it is typed."""

from __future__ import annotations

import asyncio
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import monitored

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Answer, Shell

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: away
clusters: [{name: away, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: away, context: {cluster: away, user: nobody}}]
users: [{name: nobody, user: {}}]
"""


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def manifest(path: Path) -> dict[str, Any]:
    with tarfile.open(path) as archive:
        (name,) = [name for name in archive.getnames() if name.endswith("/manifest.json")]
        file = archive.extractfile(name)
        assert file is not None
        return dict(json.loads(file.read()))


def states(shell: Shell, answer: Answer) -> dict[str, str]:
    return {part["name"]: part["state"] for part in manifest(shell.folder / answer.out.strip())["parts"]}


def test_the_file_is_named_for_its_moment_and_its_name_is_all_of_the_output(shell: Shell) -> None:
    asyncio.run(monitored.fill(str(shell.database)))
    answer = shell("support-bundle")
    assert answer.code == 0, answer.err
    (made,) = shell.folder.glob("orchestrator-support-*.tar.gz")
    assert answer.out == f"{made.name}\n"
    assert states(shell, answer) == {
        "versions": "complete", "settings": "complete", "store": "complete", "cluster": "left out", "logs": "left out"
    }  # fmt: skip


def test_who_waits_is_told_what_is_being_done(shell: Shell) -> None:
    answer = shell("support-bundle", "-o", "b.tgz")
    assert [line for line in answer.err.splitlines() if line.endswith("…")][2:4] == [
        "reading the store …",
        "asking the cluster about the namespace default …",
    ]


def test_neither_a_database_nor_an_api_server_that_is_away_stops_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(shell.write("kubeconfig", KUBECONFIG)))
    answer = shell("support-bundle", "-d", "postgresql://127.0.0.1:1/shop", "-o", "b.tgz")
    assert answer.code == 0
    found = states(shell, answer)
    assert (found["store"], found["cluster"]) == ("incomplete", "incomplete")
    assert "cannot read postgresql+psycopg://127.0.0.1:1/shop" in answer.err
    assert "no answer from the API server" in answer.err


def test_settings_that_are_wrong_are_told_inside(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_LEASE", "soon")
    answer = shell("support-bundle", "--no-cluster", "-o", "b.tgz")
    assert answer.code == 0, answer.err
    with tarfile.open(shell.folder / "b.tgz") as archive:
        file = archive.extractfile("b/settings.json")
        assert file is not None
        (problem,) = json.loads(file.read())["problems"]
    assert problem.startswith("ORCHESTRATOR_LEASE: 'soon' is not a duration")


def test_without_a_cluster_none_is_asked(shell: Shell) -> None:
    assert "cluster" not in states(shell, shell("support-bundle", "--no-cluster", "-o", "b.tgz"))


def test_a_log_that_is_not_there_is_told_and_the_rest_is_packed(shell: Shell) -> None:
    answer = shell("support-bundle", "--log", "no.log", "-o", "b.tgz")
    assert (answer.code, states(shell, answer)["logs"]) == (0, "incomplete")
    assert "--log no.log cannot be read" in answer.err


@pytest.mark.parametrize(
    ("options", "named"), [(["--since", "long ago"], "--since: "), (["-o", "nowhere/b.tgz"], "--output: nowhere/b.tgz")]
)
def test_bad_input_names_its_option(shell: Shell, options: list[str], named: str) -> None:
    answer = shell("support-bundle", *options)
    assert (answer.code, answer.out, named in answer.err) == (2, "", True)
