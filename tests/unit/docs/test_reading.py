"""The reader of pages sees what is wrong: it would be no test otherwise."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.forking import loaded
from tests.support.pages import ROOT, Block, blocks, typed
from tests.support.polling import eventually
from tests.support.reading import missing, read_along

if TYPE_CHECKING:
    from collections.abc import Iterator


def block(text: str) -> Block:
    return Block(ROOT / "docs" / "page.md", 7, "sh", "", text)


def test_a_block_that_fails_is_named_and_what_follows_was_not_reached(tmp_path: Path) -> None:
    scripts = ["echo one", "echo two; false; echo three", "echo four"]
    reading = read_along(scripts, tmp_path, {}, within=60)
    assert reading.of(0, block(scripts[0])) == "one\n"
    with pytest.raises(AssertionError, match=r"docs/page.md:7 failed with exit code 1(.|\n)*two"):
        reading.of(1, block(scripts[1]))
    with pytest.raises(AssertionError, match="not reached"):
        reading.of(2, block(scripts[2]))


def test_what_a_block_sets_is_there_in_the_next_and_nothing_of_ours_comes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE", "of the developer")
    scripts = ["mine=1", 'echo "$mine ${ORCHESTRATOR_DATABASE:-none} $GIVEN"; test -d deploy/samples']
    assert read_along(scripts, tmp_path, {"GIVEN": "2"}, within=60).printed[1] == "1 none 2\n"


@pytest.mark.parametrize(
    ("wanted", "printed", "lost"),
    [
        ("a  b", "a b c", 0),
        ("a … c", "a b c", 0),
        ("took 1.5s", "took 22s", 0),
        ("at 2026-11-23T08:49:49.99+00:00", "at 2030-01-01 00:00:00", 0),
        ("a\nb", "a", 1),
        ("… b", "a c", 1),
        ("b", "a b", 1),
    ],
)
def test_a_line_is_missing_unless_it_was_printed_but_for_what_differs_each_time(
    wanted: str, printed: str, lost: int
) -> None:
    assert len(missing(wanted, printed)) == lost


def test_a_block_knows_its_place_and_the_output_below_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```sh\nls\n```\n\n```text\nx\n```\n\n```sh yours\nexport A=1\n```\n", encoding="utf-8")
    assert [(found.line, found.language, found.mark) for found in blocks(page)] == [
        (4, "sh", ""),
        (8, "text", ""),
        (12, "sh", "yours"),
    ]
    assert [(found.text, output) for found, output in typed(blocks(page))] == [("ls\n", "x\n")]


# -- the program that is forked


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with loaded(tmp_path_factory.mktemp("program")) as found:
        yield found


def test_it_has_the_arguments_folder_and_streams_of_who_typed_it(program: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("nodes: 1", encoding="utf-8")
    done = subprocess.run([program, "lint", "a.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "a.yaml" in done.stdout + done.stderr


def test_it_has_the_environment_of_who_typed_it(program: Path, tmp_path: Path) -> None:
    where = os.environ | {"ORCHESTRATOR_DATABASE": str(tmp_path / "not-there.db")}
    done = subprocess.run([program, "executions", "list"], env=where, capture_output=True, text=True, check=False)
    assert (done.returncode, "not-there.db" in done.stderr) == (2, True)


def test_it_ends_when_the_one_who_typed_it_is_killed(program: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    typed_ = subprocess.Popen([program, "worker", "--database", str(database)])
    eventually(lambda: holders(database), "a worker on that database")
    typed_.kill()
    typed_.wait()
    eventually(lambda: not holders(database), "the worker's end")


def holders(path: Path) -> list[str]:
    """The processes that have a file open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(one.readlink() == path for one in (process / "fd").iterdir()):
                found.append(process.name)
        except OSError:  # it has ended meanwhile, or is somebody else's
            continue
    return found
