"""A page that is there in two languages says the same in both: commands, tables, headings, places that it leads to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.pages import ROOT, blocks, prose

if TYPE_CHECKING:
    from pathlib import Path

TRANSLATED = sorted((ROOT / "docs").rglob("*.pt-BR.md"))
CELL = re.compile(r"(?<!\\)[|]")
DRAWN = "mermaid"  # its labels are words


def original(page: Path) -> Path:
    return page.with_name(page.name.replace(".pt-BR", ""))


def links(page: Path) -> list[str]:
    """Where it leads, whatever the language: without the page's own headings."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return sorted(link.replace(".pt-BR", "").partition("#")[0] for link in found)


def shape(page: Path) -> list[str]:
    """Headings by their level, rows of tables by their number of cells, points of lists."""
    found = []
    for line in prose(page).splitlines():
        if match := re.match(r"(#+) ", line):
            found.append(match[1])
        elif line.startswith("|"):
            found.append("row" + "," * len(CELL.findall(line)))
        elif match := re.match(r"- (\[ \])?", line):
            found.append(match[0])
    return found


def spans(page: Path) -> list[str]:
    """What stands as code within sentences and tables: names, words of the product, commands."""
    return sorted(re.findall(r"`([^`\n]+)`", prose(page)))


def test_the_guides_are_there_in_two_languages() -> None:
    assert {page.name for page in TRANSLATED} >= {"quick-guide.pt-BR.md", "ORCHESTRATOR_V2_ROLLOUT.pt-BR.md"}


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_both_languages_have_the_same_blocks(page: Path) -> None:
    mine, theirs = (
        [(block.language, block.mark, block.text) for block in blocks(which) if block.language != DRAWN]
        for which in (page, original(page))
    )
    assert mine == theirs


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
@pytest.mark.parametrize("aspect", [links, shape, spans])
def test_both_languages_are_built_alike(page: Path, aspect: object) -> None:
    assert callable(aspect)
    assert aspect(page) == aspect(original(page))
