"""What the layout promises: stdlib's `operator` stays itself, the wheel holds both packages and nothing else, and every
exception to a rule bears its reason.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
import zipfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"orchestrator": ROOT / "orchestrator", "orchestrator_operator": ROOT / "operator" / "orchestrator_operator"}
MADE_BY_TOOLS = {"__pycache__", "build", "dist", "node_modules", "venv"}  # beside every folder with a leading dot


@cache
def files() -> tuple[Path, ...]:
    """Every file of the project, whether or not git knows it yet."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in MADE_BY_TOOLS]
        found += [Path(folder, name) for name in names]
    found += [path for path in (ROOT / ".ci", ROOT / ".github") for path in path.rglob("*") if path.is_file()]
    return tuple(found)


def python_files() -> list[Path]:
    return [path for path in files() if path.suffix == ".py"]


def show(path: Path) -> str:
    return str(path.relative_to(ROOT))


# -- stdlib's operator


def test_operator_is_a_folder_with_one_package_and_no_package_itself() -> None:
    assert [path.name for path in (ROOT / "operator").iterdir() if path.name not in MADE_BY_TOOLS] == [
        "orchestrator_operator"
    ]


def test_no_other_folder_is_named_operator() -> None:
    """Pytest's importlib mode, mypy and an IDE may each make any folder an import root."""
    named = {path for file in files() for path in file.parents if path.name == "operator"}
    assert named == {ROOT / "operator"}


def test_no_module_of_ours_shadows_one_of_the_standard_library_at_an_import_root() -> None:
    roots = (ROOT, ROOT / "operator", ROOT / "tests")
    shadowing = [
        show(path)
        for root in roots
        for path in root.iterdir()
        if path.stem in sys.stdlib_module_names and (path.suffix == ".py" or (path / "__init__.py").exists())
    ]
    assert shadowing == []


@pytest.mark.parametrize("path", [ROOT, ROOT / "operator", ROOT / "tests"], ids=show)
def test_operator_is_the_standard_librarys_wherever_python_is_started(path: Path) -> None:
    code = "import operator; print(operator.itemgetter(1)('abc'), operator.__file__)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=path, env=environment, capture_output=True, text=True, check=True
    )
    letter, where = done.stdout.split()
    assert (letter, ROOT in Path(where).parents) == ("b", False)


def test_the_standard_librarys_tools_run_in_the_checkout() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "json.tool"], cwd=ROOT, input='{"a": 1}', capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"a": 1}


# -- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel of this checkout, built as a release would."""
    uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` says where it is
    assert uv, "uv builds the wheel: run the tests by `make test`"
    folder = tmp_path_factory.mktemp("wheel")
    build = [uv, "build", "--wheel", "--quiet", "--out-dir", str(folder), str(ROOT)]
    # The build backend is in uv's cache since it made the environment; only another environment needs an index.
    offline = subprocess.run([*build, "--offline"], capture_output=True, text=True, check=False)
    if offline.returncode:
        subprocess.run(build, check=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_both_packages_and_nothing_else(wheel: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_every_file_of_a_package(wheel: set[str], package: str) -> None:
    written = {path for path in files() if PACKAGES[package] in path.parents}
    assert {f"{package}/{path.relative_to(PACKAGES[package]).as_posix()}" for path in written} - wheel == set()


@pytest.mark.parametrize(
    "name",
    [
        "orchestrator/py.typed",
        "orchestrator_operator/py.typed",
        "orchestrator/store/migrations/env.py",
        "orchestrator/store/migrations/versions/0001_initial.py",
        "orchestrator_operator/local/go/kubernetes/go.mod",
        "orchestrator_operator/local/go/kubernetes/go.sum",
        "orchestrator_operator/local/go/prometheus/go.mod",
        "orchestrator_operator/local/go/prometheus/go.sum",
        "orchestrator_operator/local/go/toxiproxy/go.mod",
        "orchestrator_operator/local/go/toxiproxy/go.sum",
        "orchestrator_operator/local/go/toolchain.txt",
    ],
)
def test_the_wheel_holds_what_is_read_at_run_time(wheel: set[str], name: str) -> None:
    assert name in wheel


# -- what every file keeps to


def test_no_file_names_the_machine_it_was_written_on() -> None:
    homes = re.compile(r"/(work|root|home/\w+|Users/\w+)/|\bhelper-\w|\bsession [0-9a-f]{8}\b")
    found = []
    for path in files():
        if path.name in ("uv.lock", "go.sum") or path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{show(path)}:{text[: match.start()].count(chr(10)) + 1} {match[0]}" for match in homes.finditer(text)
        ]
    assert found == []


def test_the_lock_file_names_the_public_index_only() -> None:
    hosts = re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text(encoding="utf-8"))
    assert set(hosts) == {"pypi.org", "files.pythonhosted.org"}


_EXCEPTION = re.compile(
    r"#\s*(noqa|type:\s*ignore|pragma:\s*no cover|mypy:|ruff:|fmt:|pylint:|pyright:)(.*)", re.IGNORECASE
)
_SOUND = re.compile(
    r"""(
      noqa:\s[A-Z]+[0-9]+(,\s?[A-Z]+[0-9]+)*\s(-|—)\s\S.{3}   # noqa: CODE - reason
    | type:\signore\[[a-z0-9-]+(,\s?[a-z0-9-]+)*\]\s\s?\#\s\S.{3}   # type: ignore[code]  # reason
    | pragma:\sno\scover\s(-|—)\s\S.{3}
    | fmt:\s(skip|off|on)   # says by itself what it is for: a table by hand
    )""",
    re.VERBOSE,
)


def exceptions(text: str) -> list[tuple[int, str]]:
    """Every comment that silences a tool, from the mark on, with its line."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    return [(line, found[0].removeprefix("#").strip()) for line, text in comments if (found := _EXCEPTION.search(text))]


def test_every_silenced_warning_bears_its_reason() -> None:
    bare = [
        f"{show(path)}:{line} {said}"
        for path in python_files()
        for line, said in exceptions(path.read_text(encoding="utf-8"))
        if not _SOUND.match(said)
    ]
    assert bare == []


@pytest.mark.parametrize("line", ["# noqa", "# noqa: S101", "# noqa: S101 -", "# type: ignore", "# type: ignore[misc]"])
def test_a_silenced_warning_without_a_reason_is_found(line: str) -> None:
    ((_, said),) = exceptions(f"x = 1  {line}\n")
    assert not _SOUND.match(said)


def test_every_rule_that_is_switched_off_bears_its_reason() -> None:
    """In pyproject.toml a code stands alone on its line, with a comment, or below or beside codes that have one."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    ruff = tomllib.loads("\n".join(lines))["tool"]["ruff"]["lint"]
    codes = {*ruff["ignore"], *(code for listed in ruff["per-file-ignores"].values() for code in listed)}
    silent = [line for line in lines if re.search(r'"[A-Z]+[0-9]*"', line) and "#" not in line]
    assert {code for line in silent for code in re.findall(r'"([A-Z]+[0-9]*)"', line)} & codes == set()
