"""`orchestrator rollout report`: from a file, from a simulation, out of the store; and what it says when it cannot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.rollout import export

from tests.support.recorded_rollout import recorded
from tests.support.reports import SIMULATED

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.store import Store
    from tests.unit.cli.conftest import Shell


def log(shell: Shell) -> Path:
    """An export of the first week."""
    return shell.write("log.jsonl", "\n".join(export.lines(recorded()[:50])) + "\n")


def test_an_exported_log_becomes_a_page(shell: Shell) -> None:
    answer = shell("rollout", "report", "--file", log(shell), "-o", shell.folder / "r.html")
    assert answer.code == 0, answer.err
    assert "shop/v2, Progressing; 4 decisions, 50 looks" in answer.out
    assert (shell.folder / "r.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert {path.name for path in shell.folder.iterdir()} == {"log.jsonl", "r.html"}


def test_a_simulation_becomes_a_page_on_standard_output(shell: Shell) -> None:
    answer = shell(
        "rollout", "report", "--simulation", shell.write("s.json", json.dumps({"rows": SIMULATED})), "-o", "-"
    )
    assert answer.code == 0, answer.err
    assert answer.out.startswith("<!DOCTYPE html>")
    assert answer.out.endswith("</html>\n")


def test_a_rollout_that_is_gone_is_drawn_out_of_the_store(shell: Shell) -> None:
    async def fill(store: Store) -> None:
        for row in recorded()[:5]:
            await store.append_decision(row)

    shell.ask(fill)
    where = ("--uid", recorded()[0].rollout, "--database", shell.database)
    answer = shell("rollout", "report", "v2", *where, "-o", shell.folder / "r.html")
    assert answer.code == 0, answer.err
    assert "5 looks" in answer.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name one of"),
        (("v2", "--file", "x"), "name one of"),
        (("--file", "nowhere.jsonl"), "nowhere.jsonl: cannot be read: No such file"),
        (("--simulation", "{broken}"), "not JSON"),
        (("--file", "{broken}"), "not a line that"),
        (("--file", "{log}", "--attempt", "7"), "no row of attempt 7"),
        (("--file", "{log}", "-o", "no/such/folder/r.html"), "cannot be written"),
    ],
)
def test_what_is_wrong_is_said(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    files = {"broken": shell.write("broken", "{"), "log": log(shell)}
    answer = shell("rollout", "report", *(text.format(**files) for text in arguments))
    assert answer.code == 2
    assert said in answer.err
