"""The custom resources of the release before this one are still understood (docs/upgrades.md)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.previous import NotHere, unpack

CRDS = Path(__file__).parents[2] / "crds"


def versions(definition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {version["name"]: version for version in definition["spec"]["versions"]}


def lost(before: Any, after: Any, path: str = "") -> list[str]:
    """What an object that was valid before would lose, or be refused for, by the schema after."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return []
    found = []
    if before.get("type", after.get("type")) != after.get("type") and not after.get("x-kubernetes-int-or-string"):
        found.append(f"{path}: was {before.get('type')}, is {after.get('type')}")
    open_ = after.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in after
    for name, field in before.get("properties", {}).items():
        if name in after.get("properties", {}):
            found += lost(field, after["properties"][name], f"{path}.{name}")
        elif not open_:
            found.append(f"{path}.{name} is gone")
    found += [
        f"{path}.{name} is required now" for name in after.get("required", []) if name not in before.get("required", [])
    ]
    found += [
        f"{path}: {word!r} is refused now" for word in before.get("enum", []) if word not in after.get("enum", [word])
    ]
    for part in ("items", "additionalProperties"):
        found += lost(before.get(part), after.get(part), f"{path}[]")
    return found


@pytest.mark.parametrize("file", sorted(CRDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_field_of_the_previous_release_is_lost(file: Path, tmp_path: Path) -> None:
    try:
        previous = unpack(tmp_path / "previous")
    except NotHere as missing:
        pytest.skip(str(missing))
    before = versions(yaml.safe_load((previous.folder / "crds" / file.name).read_text(encoding="utf-8")))
    after = versions(yaml.safe_load(file.read_text(encoding="utf-8")))
    assert before.keys() <= after.keys()
    for name, version in before.items():
        assert after[name]["served"] or not version["served"]
        assert lost(version["schema"]["openAPIV3Schema"], after[name]["schema"]["openAPIV3Schema"]) == []


@pytest.mark.parametrize("file", sorted(CRDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_one_version_is_stored_and_nothing_is_converted(file: Path) -> None:
    definition = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert [version["name"] for version in definition["spec"]["versions"] if version["storage"]] == ["v1alpha1"]
    assert "conversion" not in definition["spec"]


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["a"],
    "properties": {
        "a": {"type": "string", "enum": ["x", "y"]},
        "b": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "string"}}}},
    },
}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda s: s["properties"].pop("b"), [".b is gone"]),
        (lambda s: s["properties"]["b"]["items"]["properties"].pop("c"), [".b[].c is gone"]),
        (lambda s: s["properties"]["a"].update(type="integer"), [".a: was string, is integer"]),
        (lambda s: s["required"].append("b"), [".b is required now"]),
        (lambda s: s["properties"]["a"].update(enum=["x"]), [".a: 'y' is refused now"]),
        (lambda s: s["properties"].update(d={"type": "string"}), []),
    ],
)  # fmt: skip
def test_a_change_that_would_lose_something_is_found(change: Any, found: list[str]) -> None:
    after = copy.deepcopy(SCHEMA)
    change(after)
    assert lost(SCHEMA, after) == found
