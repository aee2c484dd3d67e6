"""Commands for a cluster go to the context that is named, and never to the current one in its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.test_help import COMMANDS, FOUND

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Shell

CONFIG = {
    "current-context": "here",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
}
MORE = {"signal": ["x"], "resume": [], "rollout report": ["--output", "-"]}
ELSEWHERE = {"support-bundle", "operator run"}  # one packs what answers; the other is a process, not a question


ASKING = [
    command
    for command in COMMANDS
    if "namespace" in {one.name for one in FOUND[command].params} and command not in ELSEWHERE
]


def test_the_commands_of_the_plugin_are_among_them() -> None:
    assert {"start", "retry", "cancel", "rollout status", "rollout abort", "flag unset"} <= set(ASKING)


@pytest.mark.parametrize("command", ASKING)
def test_a_command_asks_the_context_that_is_named(shell: Shell, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(shell.write("kubeconfig", json.dumps(CONFIG))))
    name = ["v2"] if any(one.param_type_name == "argument" for one in FOUND[command].params) else []
    answer = shell(*command.split(), *name, *MORE.get(command, []), "--context", "nowhere")
    assert (answer.code in (1, 2), "nowhere" in answer.err) == (True, True), answer
