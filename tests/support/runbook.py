"""docs/runbook.md as a person on call uses it: its blocks, typed line by line."""

from __future__ import annotations

import json
import os
import re
import shlex
import string
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from orchestrator.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "runbook.md"
_FENCE = re.compile(r"^```sh(?P<mark> \w+)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: "" only looks, `acts` changes something, `yours` sets, `elsewhere` needs pods."""

    section: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.section}: {self.text.splitlines()[0][:60]}"


def sections() -> dict[str, str]:
    """Each section of the second level by its heading; what stands before the first one by ""."""
    first, *rest = PAGE.read_text(encoding="utf-8").split("\n## ")
    return {"": first} | {part.partition("\n")[0]: part.partition("\n")[2] for part in rest}


def blocks(mark: str = "") -> list[Block]:
    """The shell blocks with this mark, in their order."""
    found = [
        Block(section, (match["mark"] or "").strip(), match["text"])
        for section, text in sections().items()
        for match in _FENCE.finditer(text)
    ]
    return [block for block in found if block.mark == mark]


def settings() -> set[str]:
    """What a person sets before all else."""
    (block,) = blocks("yours")
    return set(re.findall(r"^export (\w+)=", block.text, re.MULTILINE))


def run(line: str, kubectl: Path, environment: Mapping[str, str]) -> None:
    """Type one command in the present folder; AssertionError with what it printed when it fails, or finds nothing where
    there is something: a rollout of a V2 that failed has run, and its metrics were scraped.

    Our own program runs within this process: there are many lines, and Python takes long to start.
    """
    program, *_ = line.split(maxsplit=1)
    if program == "orchestrator":
        words = shlex.split(string.Template(line).substitute(environment))
        done = CliRunner().invoke(app, words[1:], env=dict(environment))
        assert done.exit_code == 0, f"{line}\n{done.output}"
        assert done.output.strip(), f"{line}\nprinted nothing"
        if " list " in line and "--status failed" in line:  # there was a V2 that failed
            assert re.search(r"\bfailed\b", done.output), f"{line}\n{done.output}"
        return
    where = {**os.environ, **environment, "PATH": f"{kubectl.parent}{os.pathsep}{os.environ['PATH']}"}
    asked = subprocess.run(
        ["bash", "-euc", line],
        env=where,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert asked.returncode == 0, f"{line}\n{asked.stdout}\n{asked.stderr}"
    if program == "curl":
        answer = json.loads(asked.stdout)
        assert (answer["status"], bool(answer["data"]["result"])) == ("success", True), f"{line}\n{asked.stdout}"
