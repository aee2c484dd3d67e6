"""The CustomResourceDefinitions: what the API server will check, and that the committed files say so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from orchestrator_operator.specs import crds
from orchestrator_operator.specs.structural import structural

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {definition.resource.kind: crds.crd(definition) for definition in crds.DEFINITIONS}


def version(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = KINDS[kind]["spec"]["versions"][0]
    return found


def schema(kind: str, part: str = "spec") -> dict[str, Any]:
    found: dict[str, Any] = version(kind)["schema"]["openAPIV3Schema"]["properties"][part]
    return found


def walk(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema."""
    yield path, value
    for name, member in value.get("properties", {}).items():
        yield from walk(member, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(value.get(key), dict):
            yield from walk(value[key], f"{path}[]")


@pytest.mark.parametrize("definition", crds.DEFINITIONS, ids=lambda definition: definition.resource.kind)
def test_the_committed_file_is_what_the_specs_say(definition: crds.Definition) -> None:
    assert crds.path(definition.resource).read_text() == crds.render(definition), (
        "python -m orchestrator_operator.specs.crds"
    )


def test_check_finds_drift(tmp_path: Path) -> None:
    assert crds.main(["--folder", str(tmp_path)]) == 0
    assert crds.main(["--folder", str(tmp_path), "--check"]) == 0
    (tmp_path / "executions.yaml").write_text("---")
    assert crds.main(["--folder", str(tmp_path), "--check"]) == 1


def test_nothing_else_lies_in_the_folder() -> None:
    assert {file.name for file in crds.FOLDER.iterdir()} == {
        "Kustomization",  # for the overlays
        *(f"{definition.resource.plural}.yaml" for definition in crds.DEFINITIONS),
    }


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("Workflow", ("workflows", "workflow", ["owf"])),
        ("Execution", ("executions", "execution", ["oex"])),
        ("EngineRollout", ("enginerollouts", "enginerollout", ["ero"])),
    ],
)
def test_names(kind: str, names: tuple[str, str, list[str]]) -> None:
    found = KINDS[kind]["spec"]["names"]
    assert (found["plural"], found["singular"], found["shortNames"]) == names


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("Workflow", ["Valid", "Nodes", "Revision", "Age"]),
        ("Execution", ["Workflow", "Engine", "Phase", "Node", "Progress", "Duration", "Age"]),
        ("EngineRollout", ["Phase", "Stage", "Percent", "Verdict", "Evidence", "Blind", "Next", "Age"]),
    ],
)
def test_columns(kind: str, columns: list[str]) -> None:
    assert [column["name"] for column in version(kind)["additionalPrinterColumns"]] == columns


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_reads_a_field_that_is_declared(kind: str) -> None:
    for column in version(kind)["additionalPrinterColumns"][:-1]:
        _, part, field = column["jsonPath"].split("[")[0].split(".", 2)
        assert field in schema(kind, part)["properties"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["spec", "status"])
def test_the_schema_is_structural(kind: str, part: str) -> None:
    forbidden = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "title", "default", "const", "examples", "discriminator"}
    for path, found in walk(schema(kind, part)):
        assert not forbidden & found.keys(), path
        free = {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"} & found.keys()
        assert "type" in found or free, path
        assert found.get("additionalProperties") is not False, path
        assert set(found.get("required", [])) <= found.get("properties", {}).keys(), path


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_spec_is_described(kind: str) -> None:
    assert [path for path, found in walk(schema(kind)) if "properties" in found or path.count("[]") == 0] != []
    undescribed = [
        path for path, found in walk(schema(kind)) if not found.get("description") and not path.endswith("[]")
    ]
    assert undescribed == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_spec_is_required(kind: str) -> None:
    assert version(kind)["schema"]["openAPIV3Schema"]["required"] == ["spec"]
    assert version(kind)["subresources"] == {"status": {}}


def test_all_of_an_execution_but_three_fields_is_immutable() -> None:
    (rule,) = schema("Execution")["x-kubernetes-validations"]
    fields = set(schema("Execution")["properties"])
    assert set(crds.IMMUTABLE) == fields - {"suspend", "cancel", "ttlSecondsAfterFinished"}
    for name in crds.IMMUTABLE:
        assert f"has(self.{name}) == has(oldSelf.{name})" in rule["rule"]
        assert f"self.{name} == oldSelf.{name}" in rule["rule"]


def test_the_input_is_an_object_because_cel_compares_no_value_of_unknown_type() -> None:
    assert schema("Execution")["properties"]["input"]["type"] == "object"


def test_nodes_are_a_map_by_id() -> None:
    nodes = schema("Workflow")["properties"]["nodes"]
    assert (nodes["x-kubernetes-list-type"], nodes["x-kubernetes-list-map-keys"]) == ("map", ["id"])
    assert nodes["items"]["properties"]["id"]["pattern"] == "^[a-z][A-Za-z0-9_]*$"
    assert "id" in nodes["items"]["required"]


@pytest.mark.parametrize("kind", ["Workflow", "EngineRollout"])
def test_values_that_need_a_sentence_reach_the_operator(kind: str) -> None:
    limits = {"minimum", "maximum", "exclusiveMinimum", "pattern", "enum", "minItems", "maxItems", "minLength"}
    for path, found in walk(schema(kind)):
        if path != ".nodes[].id":
            assert not limits & found.keys(), path


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Workflow", ".concurrency"),
        ("Workflow", ".nodes[].compensate"),
        ("Execution", ".from"),
        ("EngineRollout", ".windows"),
        ("EngineRollout", ".notify"),
        ("EngineRollout", ".stages[].approval"),
        ("EngineRollout", ".stages[].holdback"),
        ("EngineRollout", ".criteria[].bad"),
    ],
)
def test_fields_that_are_not_built_yet_are_not_pruned(kind: str, path: str) -> None:
    assert path in dict(walk(schema(kind)))


class TestStructural:
    def test_a_type_that_holds_itself_is_left_free_there(self) -> None:
        tree = {"$defs": {"T": {"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}}}}, "$ref": "#/$defs/T"}
        found = structural(tree, limits=True)
        assert found == {"type": "object", "properties": {"t": {"x-kubernetes-preserve-unknown-fields": True}}}

    def test_a_number_or_text(self) -> None:
        found = structural({"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}, limits=True)
        assert found == {"x-kubernetes-int-or-string": True}

    def test_an_open_end_is_a_flag_beside_the_limit(self) -> None:
        found = structural({"type": "number", "exclusiveMinimum": 0}, limits=True)
        assert found == {"type": "number", "minimum": 0, "exclusiveMinimum": True}


def test_the_files_are_plain_yaml() -> None:
    for file in Path(crds.FOLDER).glob("*.yaml"):
        assert yaml.safe_load(file.read_text())["kind"] == "CustomResourceDefinition"
