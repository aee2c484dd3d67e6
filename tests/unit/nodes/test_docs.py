"""docs/nodes.md keeps its word: what it shows is valid, and it names every field and failure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.authoring import compile_workflow
from orchestrator.nodes.http_with import Auth, BasicAuth, HeaderAuth, HttpWith
from orchestrator.nodes.references import SecretRef
from orchestrator.nodes.registry import NODE_TYPES

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/nodes.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)]


@pytest.mark.parametrize("nodes", [block for block in BLOCKS if isinstance(block, list)])
def test_the_nodes_that_are_shown_are_valid(nodes: list[Any]) -> None:
    assert compile_workflow({"nodes": nodes}, namespace="default", name="shown").nodes


@pytest.mark.parametrize("type_", NODE_TYPES)
def test_every_type_has_a_section(type_: str) -> None:
    assert f"\n## {type_}\n" in TEXT


@pytest.mark.parametrize("model", [HttpWith, Auth, BasicAuth, HeaderAuth, SecretRef], ids=lambda model: model.__name__)
def test_every_field_of_http_is_named(model: Any) -> None:
    names = {field.alias or name for name, field in model.model_fields.items()}
    assert {name for name in names if not re.search(rf"\b{name}\b", TEXT)} == set()


def test_every_failure_of_http_and_secrets_is_named() -> None:
    sources = [*(ROOT / "orchestrator/nodes").glob("http*.py"), ROOT / "orchestrator/secrets.py"]
    kinds = {
        kind for path in sources for kind in re.findall(r'StepError\(\s*"(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert "HttpStatus" in kinds
    assert {kind for kind in kinds if f"`{kind}`" not in TEXT} == set()
