"""docs/workflows.md keeps its word: every example compiles, runs, and comes to what is said; every field is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from orchestrator.errors import StepError
from orchestrator.nodes.registry import NODE_TYPES
from orchestrator.testing import Bench
from orchestrator.workflow_spec import CompensateSpec, ConcurrencySpec, DefaultsSpec, NodeSpec, RetrySpec, WorkflowSpec

if TYPE_CHECKING:
    from orchestrator.nodes.base import StepContext

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/workflows.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
RUNS = re.findall(r"^<!-- run: (.*?) -->\n```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
MODELS: tuple[Any, ...] = (WorkflowSpec, NodeSpec, RetrySpec, DefaultsSpec, ConcurrencySpec, CompensateSpec)


def service(with_: Any, context: StepContext) -> Any:
    """A service that says what it was sent; `/refused` refuses, `/flaky` answers the third time."""
    if with_["url"].endswith("/refused"):
        raise StepError("HttpStatus", "409", retryable=False, status=409)
    if with_["url"].endswith("/flaky") and context.attempt < 3:
        raise StepError("HttpStatus", "503", retryable=True, status=503)
    body = {"id": "r-1", "echo": with_.get("body"), "attempt": context.attempt}
    return {"status": 200, "headers": {}, "body": body}


def test_every_example_is_run() -> None:
    assert len(RUNS) == len(BLOCKS)


@pytest.mark.parametrize(("said", "text"), RUNS, ids=[str(number) for number in range(len(RUNS))])
def test_an_example_comes_to_what_is_said(said: str, text: str) -> None:
    wanted, spec = json.loads(said), yaml.safe_load(text)
    with Bench(stubs={"http": service}) as bench:
        for name, child in wanted.get("children", {}).items():
            bench.workflow(child, name=name)
        x = bench.submit(spec, wanted.get("input"))
        for name, payload in wanted.get("signals", []):
            bench.signal(x, name, payload)
        if "approve" in wanted:
            node, approver = wanted["approve"]
            bench.signal(x, node, {"approved": True, "approver": approver})
        bench.run()
        found = bench.get(x)
        done = {effect.node for effect in bench.effects}
        effects = [effect.node for effect in bench.effects]
    assert found.status == wanted.get("status", "success"), found.failure
    assert "output" not in wanted or found.output == wanted["output"]
    assert "kind" not in wanted or (found.failure is not None and found.failure.kind == wanted["kind"])
    assert set(wanted.get("done", [])) <= done
    assert wanted.get("effects", effects) == effects


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_named(model: Any) -> None:
    names = [field.alias or name for name, field in model.model_fields.items()]
    assert [name for name in names if not re.search(rf"\b{name}\b", TEXT)] == []


@pytest.mark.parametrize("type_", NODE_TYPES)
def test_every_node_type_is_named(type_: str) -> None:
    assert f"`{type_}`" in TEXT


def test_every_command_that_is_named_exists() -> None:
    import typer

    from orchestrator.cli.executions import app

    there = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a group's
    rows = re.findall(r"^\| (`.*?) \| ", TEXT.partition("## What became of it")[2], re.MULTILINE)
    named = {name.split()[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert named == there
