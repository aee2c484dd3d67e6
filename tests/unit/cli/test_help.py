"""Every command explains itself, with an example to copy; and none takes another down."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.reference import commands as reference

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Shell


FOUND = {one.typed.removeprefix("orchestrator "): one.found for one in reference.commands() if not one.below}
COMMANDS = sorted(FOUND)


def test_the_commands_of_the_contract_are_there() -> None:
    promised = {"run", "worker", "route", "executions list", "executions show", "executions events", "demo down"}
    promised |= {"flag get", "flag set", "flag unset", "local up", "local down", "local status", "operator run"}
    assert promised <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_and_how_it_is_typed(shell: Shell, command: str) -> None:
    answer = shell(*command.split(), "--help")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[0].startswith(f"Usage: orchestrator {command}")
    assert f"orchestrator {command}" in answer.out.partition("Example")[2]


def test_the_programs_help_names_every_command(shell: Shell) -> None:
    answer = shell("--help")
    assert (answer.code, "Example" in answer.out) == (0, True)
    listed = {line.split()[0] for line in answer.out.partition("Commands:")[2].splitlines() if line.strip()}
    assert {command.split()[0] for command in COMMANDS} <= listed


def test_without_a_command_the_help_is_shown(shell: Shell) -> None:
    answer = shell()
    assert "Usage: orchestrator" in answer.out + answer.err
    assert answer.code == 2


def test_the_version_is_the_packages(shell: Shell) -> None:
    answer = shell("--version")
    assert (answer.code, answer.out) == (0, f"orchestrator {metadata.version('orchestrator')}\n")


def test_kubectls_plugin_is_the_same_program() -> None:
    scripts = {entry.name: entry.value for entry in metadata.entry_points(group="console_scripts")}
    assert scripts["kubectl-orchestrator"] == scripts["orchestrator"] == "orchestrator.cli.main:main"


def test_an_unknown_command_is_bad_input(shell: Shell) -> None:
    answer = shell("fly")
    assert answer.code == 2
    assert "No such command 'fly'" in answer.err


@pytest.fixture
def _broken_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package that added a command, and was then half removed."""
    group = "orchestrator.commands"
    broken = metadata.EntryPoint("extra", "no_such_package.cli:app", group)
    there = metadata.entry_points
    monkeypatch.setattr(metadata, "entry_points", lambda **chosen: [*there(**chosen), broken])


@pytest.mark.usefixtures("_broken_plugin")
def test_a_command_that_cannot_be_loaded_leaves_the_others_alone(shell: Shell) -> None:
    answer = shell("--help")
    assert answer.code == 0
    assert "extra" in answer.out
    assert shell("route", "a", "--percent", "100").code == 0


@pytest.mark.usefixtures("_broken_plugin")
def test_a_command_that_cannot_be_loaded_says_why(shell: Shell) -> None:
    answer = shell("extra", "do", "--hard")
    assert answer.code == 1
    assert "no_such_package" in answer.err
    assert "reinstall" in answer.err
