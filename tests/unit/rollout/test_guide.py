"""docs/rollout-controller.md leaves nothing out, and what it shows is valid."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
import yaml
from orchestrator_operator.cli.rollout import app
from orchestrator_operator.rollout.planning.situation import VERBS as ANNOTATIONS
from orchestrator_operator.specs.rollout import RolloutSpec, parse_rollout
from orchestrator_operator.specs.rollout_status import Phase
from pydantic import BaseModel
from typer.main import get_command

from tests.support.rollouts import World

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "operator" / "orchestrator_operator" / "rollout"
GUIDE = (ROOT / "docs" / "rollout-controller.md").read_text(encoding="utf-8")
SHOWN: Any = yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)[0])
ROWS = "\n".join(line for line in GUIDE.splitlines() if line.startswith("| "))


def leaves(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Every field that a person may write, by its path: `stages[].percent`."""
    for name, field in model.model_fields.items():
        here = f"{path}{field.alias or name}"
        inner = [found for found in (field.annotation, *get_args(field.annotation)) if isinstance(found, type)]
        parts = [found for found in inner if issubclass(found, BaseModel)]
        listed = "[]" if getattr(field.annotation, "__origin__", None) is tuple else ""
        if parts:
            yield from leaves(parts[0], f"{here}{listed}.")
        else:
            yield here


@pytest.mark.parametrize("path", list(leaves(RolloutSpec)))
def test_every_field_has_its_row_or_a_place_in_one(path: str) -> None:
    last = path.rpartition(".")[2]
    assert f"`{path}`" in ROWS or f"`.{last}`" in ROWS


def test_the_spec_that_is_shown_is_valid_and_shows_every_field() -> None:
    parse_rollout(SHOWN["spec"])
    text = str(SHOWN)
    assert [path for path in leaves(RolloutSpec) if f"'{path.rpartition('.')[2].removesuffix('[]')}'" not in text] == []


def test_what_is_called_a_default_is_one() -> None:
    spec = SHOWN["spec"]
    plain = [{key: stage[key] for key in ("name", "percent", "duration")} for stage in spec["stages"]]
    criteria = [item for item in spec["criteria"] if item["name"] != "own-metric"]
    without = {key: value for key, value in spec.items() if key not in ("windows", "notify")}
    assert parse_rollout({**without, "stages": plain, "criteria": criteria}) == RolloutSpec()


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_its_row(phase: Phase) -> None:
    assert re.search(rf"^\| `{phase}` \|", GUIDE, re.MULTILINE)


@pytest.mark.parametrize("name", get_command(app).commands)  # type: ignore[attr-defined]  # of an app with several
def test_every_command_has_its_row(name: str) -> None:
    assert re.search(rf"^\| `orchestrator rollout {name}\b", GUIDE, re.MULTILINE)


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_every_annotation_has_its_row(annotation: str) -> None:
    assert f"`{annotation}=" in ROWS


def test_every_condition_has_its_row() -> None:
    world = World().running()
    world.extra["late_starts"] = 1
    world.says("orchestrator.dev/abort")
    world.step()
    kinds = {item.type for item in world.status.conditions}
    assert len(kinds) == 8
    assert [kind for kind in kinds if f"`{kind}`" not in ROWS] == []


def told_words() -> set[str]:
    """Every action and reason in the rules, and every reason that a reading of the flag may have."""
    found: set[str] = set()
    for module in ("rules", "stage_rules", "onward", "telling", "situation"):
        tree = ast.parse((PACKAGE / "planning" / f"{module}.py").read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        said = [argument for call in calls for argument in (*call.args, *(word.value for word in call.keywords))]
        found |= {node.value for node in said if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {word for word in found if re.fullmatch(r"([A-Z][a-z]+)+", word)}


def test_every_action_and_reason_is_explained() -> None:
    words = told_words()
    assert {"Promote", "WindowClosed", "SpecEdited", "Aborted", "Rearmed"} <= words
    assert sorted(word for word in words if f"`{word}`" not in GUIDE) == []
