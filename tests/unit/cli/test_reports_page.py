"""docs/reports.md keeps its word: its commands are typed, and every report and every file stands there."""

from __future__ import annotations

import asyncio
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from orchestrator.reports import REPORTS
from tests.support import monitored
from tests.support.pages import ROOT, blocks, typed_by

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Shell

PAGE = ROOT / "docs" / "reports.md"
COMMANDS = [line for block, _ in typed_by(__name__, blocks(PAGE)) for line in block.text.splitlines()]


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
    assert re.search(rf"^\| `{name}` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
