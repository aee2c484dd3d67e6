"""docs/reports.md keeps its word: its commands are typed, and every report and every file stands there."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.reports import REPORTS
from tests.support import monitored

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Shell

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reports.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_does_what_it_says(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, line: str, tmp_path: Path
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    asyncio.run(monitored.fill(str(shell.database)))
    program, *arguments = shlex.split(line)
    answer = shell(*arguments)
    assert (program, answer.code) == ("orchestrator", 0), answer.err
    assert answer.out


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_stands_on_the_page(name: str) -> None:
    assert re.search(rf"^\| `{name}` \|", PAGE, re.MULTILINE)
