"""Pages of documentation: their fenced blocks, and what stands behind a fence's language.

What a shell block's second word says:

| fence | what it means |
|---|---|
| `sh` | a reader types it, and a test runs it |
| `sh acts` | the same, and it changes what it speaks of: the test brings that about first |
| `sh yours` | settings of the reader's own place; a test checks that it supplies the same names |
| `sh elsewhere` | needs a service that no test has; the reason stands in tests/unit/docs/test_commands.py |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<info>[^`\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = "sh"


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; `line` is its first line within the fence, from 1."""

    page: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def place(self) -> str:
        """Where a person finds it: `docs/quick-guide.md:12`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that people read."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])


def blocks(page: Path, text: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order; of a part of it, if that is given as `text`."""
    whole = page.read_text(encoding="utf-8")
    part = whole if text is None else text
    before = whole[: whole.index(part)].count("\n")
    found = []
    for match in FENCE.finditer(part):
        language, _, mark = match["info"].partition(" ")
        line = before + part[: match.start("text")].count("\n") + 1
        found.append(Block(page, line, language, mark.strip(), match["text"]))
    return found


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def section(title: str, page: Path) -> str:
    """What stands below a heading of the second level, up to the next one."""
    return page.read_text(encoding="utf-8").split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def typed(found: list[Block]) -> list[tuple[Block, str]]:
    """The blocks that a reader types, each with the output that stands right below it ("" for none)."""
    following = [*found[1:], None]
    return [
        (block, after.text if after is not None and after.language == "text" else "")
        for block, after in zip(found, following, strict=True)
        if block.language == SHELL and not block.mark
    ]
