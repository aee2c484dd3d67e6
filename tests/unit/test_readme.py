"""The README keeps its word: its tour runs as written, its links lead somewhere, the tests that it names exist."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from orchestrator_operator.specs.rollout import Analysis, Criterion, RolloutSpec, Stage, parse_rollout

from orchestrator.nodes.registry import NODE_TYPES, NOT_BUILT_YET
from orchestrator.workflow_spec import NodeSpec, RetrySpec, WorkflowSpec
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITHIN = 240  # seconds for the tour: fifteen of them are its timer, the rest are interpreters that start
MARK = "-- end of block --"


def section(title: str, text: str = README) -> str:
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


# -- the tour


def normalised(text: str) -> list[str]:
    """Lines without what differs from run to run: ids, receipts, moments, seconds and padding."""
    for pattern, stands_for in (
        (r"\b[0-9a-f]{32}\b", "ID"),
        (r"(order-\d+:)[0-9a-f]+", r"\1RECEIPT"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", "MOMENT"),
        (r"\b\d+\.\ds\b", "SECONDS"),
    ):
        text = re.sub(pattern, stands_for, text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def shown_and_wanted() -> list[tuple[str, str]]:
    """Each block of commands with the output that stands below it ("" for none)."""
    blocks = BLOCK.findall(section("Ten minutes without a cluster"))
    assert {kind for kind, _ in blocks} == {"sh", "text"}
    following = [*blocks[1:], ("sh", "")]
    return [
        (commands, output if after == "text" else "")
        for (kind, commands), (after, output) in zip(blocks, following, strict=True)
        if kind == "sh"
    ]


def programs(folder: Path) -> Path:
    """What a reader has on PATH in the active environment; where there is no `curl`, what the tour needs of it."""
    folder.mkdir()
    scripts = {
        "python": f'exec "{sys.executable}" "$@"',
        "orchestrator": f'exec "{sys.executable}" -m orchestrator.cli.main "$@"',
    }
    if shutil.which("curl") is None:
        fetch = "import sys, urllib.request as u; print(u.urlopen(sys.argv[-1]).read().decode())"
        scripts["curl"] = f'exec "{sys.executable}" -c \'{fetch}\' "$@"'
    for name, command in scripts.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
        path.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The output of each block of commands, run one after the other in one shell."""
    folder, port = tmp_path_factory.mktemp("tour"), free_port()
    (folder / "deploy").symlink_to(ROOT / "deploy")
    # A reader reads on meanwhile.
    wait = f"until curl -s http://127.0.0.1:{port}/healthz > /dev/null; do kill -0 $shop; sleep 0.2; done"
    blocks = [commands.replace("8080", str(port)) for commands, _ in shown_and_wanted()]
    script = "set -euo pipefail\n" + f"\necho '{MARK}'\n".join([f"{blocks[0]}\n{wait}", *blocks[1:]])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "USE_ORCH"))}
    environment = kept | {"PATH": f"{programs(folder / 'bin')}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=(folder / "stderr").open("wb"),
        start_new_session=True,
        text=True,
    ) as shell:
        try:
            out, _ = shell.communicate(timeout=WITHIN)
        finally:
            with_children(shell.pid)
    said = (folder / "stderr").read_text(encoding="utf-8")
    assert shell.returncode == 0, f"{out}\n{said}"
    return out.split(f"{MARK}\n")


def with_children(group: int) -> None:
    """End the shell and everything that it started in the background."""
    import signal

    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.mark.parametrize("number", range(len(shown_and_wanted())))
def test_a_block_of_the_tour_prints_what_stands_below_it(tour: list[str], number: int) -> None:
    _, wanted = shown_and_wanted()[number]
    printed = normalised(tour[number])
    lines = normalised(wanted)
    assert [line for line in lines if not any(found.startswith(line) for found in printed)] == []
    if number == 0:
        assert printed == []


# -- what it refers to


def anchors(document: Path) -> set[str]:
    """The headings of a document as GitHub's links spell them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> list[tuple[Path, str]]:
    found = []
    for document in DOCUMENTS:
        text = BLOCK.sub("", document.read_text(encoding="utf-8"))
        found += [(document, link) for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    return found


@pytest.mark.parametrize(("document", "link"), links(), ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_a_link_leads_somewhere(document: Path, link: str) -> None:
    path, _, anchor = unquote(link).partition("#")
    target = (document.parent / path).resolve() if path else document
    assert target.exists()
    assert not anchor or anchor in anchors(target)


NAMED = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", README)


@pytest.mark.parametrize(("name", "path"), NAMED)
def test_a_test_that_is_named_exists_in_that_file(name: str, path: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions


def test_each_promise_names_its_tests() -> None:
    promises, *others = section("What V2 promises").split("\n### ")
    of_rollouts = next(part for part in others if part.startswith("What a rollout promises\n"))
    for part in (promises, of_rollouts):
        rows = [line for line in part.splitlines() if line.startswith("| ")][1:]
        assert len(rows) >= 11
        assert [row for row in rows if not re.search(r"\[`test_\w+`\]", row)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"`make ([a-z]+)", document.read_text(encoding="utf-8")))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets


def test_every_folder_that_is_listed_exists_and_none_is_left_out() -> None:
    listed = set(re.findall(r"^\| `([\w/]+)/` ", section("What is inside"), re.MULTILINE))
    assert [folder for folder in listed if not (ROOT / folder).is_dir()] == []
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    top = {Path(name).parts[0] for name in tracked if len(Path(name).parts) > 1 and not name.startswith(".")}
    assert top <= {folder.split("/")[0] for folder in listed}


# -- what is not built


@pytest.mark.parametrize("name", sorted(NOT_BUILT_YET))
def test_a_node_type_that_is_not_built_is_listed_as_such(name: str) -> None:
    assert f"`{name}`" in section("What is not built yet")


@pytest.mark.parametrize("name", sorted(NODE_TYPES))
def test_a_node_type_that_is_built_is_not(name: str) -> None:
    assert f"`{name}`" in section("Ten minutes without a cluster")
    assert f"`{name}`" not in section("What is not built yet")


def unbuilt_fields() -> list[str]:
    models: tuple[Any, ...] = (WorkflowSpec, NodeSpec, RetrySpec, RolloutSpec)
    models += (Analysis, Criterion, Stage)
    found = []
    for model in models:
        for field_name, field in model.model_fields.items():
            if (field.description or "").startswith("Not built yet"):
                found.append(field.alias or field_name)
    return sorted(found)


@pytest.mark.parametrize("field", unbuilt_fields())
def test_a_field_that_is_not_built_is_listed_as_such(field: str) -> None:
    assert re.search(rf"`([a-z]+\.)?{field}`", section("What is not built yet"))


def test_the_rollout_that_is_shown_is_valid() -> None:
    ((_, text),) = BLOCK.findall(section("How a rollout works"))
    shown = parse_rollout(yaml.safe_load(text)["spec"])
    assert shown.planned.days == 28
    assert shown == RolloutSpec()  # it shows the defaults, as the text says
