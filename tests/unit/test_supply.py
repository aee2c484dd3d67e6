"""What is installed is what was locked."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))


def test_every_package_is_locked_by_hashes_and_comes_from_a_registry() -> None:
    sources = {next(iter(one["source"])) for one in LOCK["package"]}
    assert sources == {"registry", "editable"}  # the one that is editable is ours
    ours = [one["name"] for one in LOCK["package"] if "editable" in one["source"]]
    assert ours == ["orchestrator"]
    files = [file for one in LOCK["package"] if "registry" in one["source"] for file in one.get("wheels", [])]
    assert len(files) > 100
    assert all(file["hash"].startswith("sha256:") for file in files)


@pytest.mark.parametrize(
    "module", sorted((ROOT / "deploy" / "local" / "go").glob("*/go.mod")), ids=lambda p: p.parent.name
)
def test_every_go_module_has_its_sums(module: Path) -> None:
    assert " h1:" in module.with_name("go.sum").read_text(encoding="utf-8")
