"""docs/runbook.md as a person on call uses it: its blocks, typed into a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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


def run(script: str, folder: Path, kubectl: Path, environment: Mapping[str, str]) -> None:
    """Type it; AssertionError with everything that was printed when a command fails."""
    programs = folder / "bin"
    if not programs.exists():
        programs.mkdir()
        (programs / "kubectl").symlink_to(kubectl)
        command = f'#!/bin/sh\nexec "{sys.executable}" -m orchestrator.cli.main "$@"\n'
        (programs / "orchestrator").write_text(command, encoding="utf-8")
        (programs / "orchestrator").chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{script}"],
        cwd=folder,
        env={**os.environ, **environment, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
