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
_FOLDERS = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0].isalpha())  # not .venv


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


#: What tests type, by the module whose test does: each asks for its blocks by `typed_by` and types what it gets.
TYPED: dict[Block, str] = {}


def pages() -> list[Path]:
    """Every page that people read, wherever it stands in the checkout."""
    return sorted([*ROOT.glob("*.md"), *(path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.md"))])


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


def typed_by(module: str, found: list[Block], mark: str = "") -> list[tuple[Block, str]]:
    """What `typed` gives, for a test that types each of these blocks; tests/unit/docs/test_commands.py looks here."""
    shown = typed(found, mark)
    TYPED.update((block, module) for block, _ in shown)
    return shown


def typed(found: list[Block], mark: str = "") -> list[tuple[Block, str]]:
    """The blocks with this mark that a reader types, each with the output that stands right below it ("" for none)."""
    following = [*found[1:], None]
    return [
        (block, after.text if after is not None and after.language == "text" else "")
        for block, after in zip(found, following, strict=True)
        if block.language == SHELL and block.mark == mark
    ]
