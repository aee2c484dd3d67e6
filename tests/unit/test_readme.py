"""The README keeps its word: its tour runs as written, its links lead somewhere, the tests that it names exist."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
import yaml
from orchestrator_operator.specs.rollout import Analysis, Criterion, RolloutSpec, Stage, parse_rollout

from orchestrator.nodes.registry import NODE_TYPES
from orchestrator.workflow_spec import NodeSpec, RetrySpec, WorkflowSpec
from tests.support.forking import loaded
from tests.support.pages import ROOT, blocks, pages, prose, section, typed_by
from tests.support.ports import free_port
from tests.support.reading import missing, read_along

if TYPE_CHECKING:
    from tests.support.pages import Block
    from tests.support.reading import Reading

README_PAGE = ROOT / "README.md"
README = README_PAGE.read_text(encoding="utf-8")
DOCUMENTS = pages()
WITHIN = 240  # seconds for the tour: thirty of them are its timer and a lease that must end


# -- the tour


TOUR = blocks(README_PAGE, section("Ten minutes without a cluster", README_PAGE))
TYPED = typed_by(__name__, TOUR)


def test_the_tour_has_commands_and_their_output_alone() -> None:
    assert {(block.language, block.mark) for block in TOUR} == {("sh", ""), ("text", "")}


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """Each block of commands, run one after the other in one shell."""
    port = free_port()
    # A reader reads on meanwhile.
    wait = f"until curl -s http://127.0.0.1:{port}/healthz > /dev/null; do kill -0 $shop; sleep 0.2; done"
    first, *others = [block.text.replace("8080", str(port)) for block, _ in TYPED]
    scripts, folder = [f"{first}\n{wait}", *others], tmp_path_factory.mktemp("tour")
    with loaded(tmp_path_factory.mktemp("program")) as program:
        return read_along(scripts, folder, {}, within=WITHIN, program=program)


@pytest.mark.parametrize(
    ("number", "block", "wanted"),
    [(number, *shown) for number, shown in enumerate(TYPED)],
    ids=[block.place for block, _ in TYPED],
)
def test_a_block_of_the_tour_prints_what_stands_below_it(tour: Reading, number: int, block: Block, wanted: str) -> None:
    printed = tour.of(number, block)
    assert missing(wanted, printed) == []
    if number == 0:
        assert printed == ""


# -- what it refers to


def anchors(document: Path) -> set[str]:
    """The headings of a document as GitHub's links spell them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> list[tuple[Path, str]]:
    found = []
    for document in DOCUMENTS:
        targets = re.findall(r"\]\(([^)\s]+)\)", prose(document))
        found += [(document, link) for link in targets if "://" not in link]
    return found


@pytest.mark.parametrize(("document", "link"), links(), ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_a_link_leads_somewhere(document: Path, link: str) -> None:
    path, _, anchor = unquote(link).partition("#")
    target = (document.parent / path).resolve() if path else document
    assert target.exists()
    assert not anchor or anchor in anchors(target)


def test_every_page_is_in_the_table_of_what_to_read() -> None:
    table = section("Where to read on", README_PAGE)
    listed = set(re.findall(r"\]\(([^)#\s]+)\)", table))
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(page for page in found - listed if not page.startswith("docs/reference/")) == []


NAMED = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", README)


@pytest.mark.parametrize(("name", "path"), NAMED)
def test_a_test_that_is_named_exists_in_that_file(name: str, path: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions


def test_each_promise_names_its_tests() -> None:
    promises, *others = section("What V2 promises", README_PAGE).split("\n### ")
    of_rollouts = next(part for part in others if part.startswith("What a rollout promises\n"))
    for part in (promises, of_rollouts):
        rows = [line for line in part.splitlines() if line.startswith("| ")][1:]
        assert len(rows) >= 11
        assert [row for row in rows if not re.search(r"\[`test_\w+`\]", row)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"`make ([a-z-]+)", document.read_text(encoding="utf-8")))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets


def test_every_folder_that_is_listed_exists_and_none_is_left_out() -> None:
    listed = set(re.findall(r"^\| `([\w/]+)/` ", section("What is inside", README_PAGE), re.MULTILINE))
    assert [folder for folder in listed if not (ROOT / folder).is_dir()] == []
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    top = {Path(name).parts[0] for name in tracked if len(Path(name).parts) > 1 and not name.startswith(".")}
    assert top <= {folder.split("/")[0] for folder in listed}


# -- what is not built


@pytest.mark.parametrize("name", sorted(NODE_TYPES))
def test_a_node_type_that_is_built_is_not(name: str) -> None:
    assert f"`{name}`" in section("Ten minutes without a cluster", README_PAGE)
    assert f"`{name}`" not in section("What is not built yet", README_PAGE)


def unbuilt_fields() -> list[str]:
    models: tuple[Any, ...] = (WorkflowSpec, NodeSpec, RetrySpec, RolloutSpec)
    models += (Analysis, Criterion, Stage)
    found = []
    for model in models:
        for field_name, field in model.model_fields.items():
            if (field.description or "").startswith("Not built yet"):
                found.append(field.alias or field_name)
    return sorted(found)


def test_fields_that_are_not_built_are_listed_as_such() -> None:
    told = section("What is not built yet", README_PAGE)
    assert [field for field in unbuilt_fields() if not re.search(rf"`([a-z]+\.)?{field}`", told)] == []


def test_the_rollout_that_is_shown_is_valid() -> None:
    (block,) = blocks(README_PAGE, section("How a rollout works", README_PAGE))
    shown = parse_rollout(yaml.safe_load(block.text)["spec"])
    assert shown.planned.days == 28
    assert shown == RolloutSpec()  # it shows the defaults, as the text says
