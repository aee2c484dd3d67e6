"""From a workflow as people write it to `model.Workflow`: every problem, each with its path, or a value that runs.

    spec ─shape─▶ WorkflowSpec ─rules─▶ normalised definition ─▶ revision, model.Workflow

The normalised definition has the defaults folded into every node, so an execution that is pinned to it keeps its
retries and time-outs even when a later version of this program has other defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator import expressions
from orchestrator.authoring.availability import check_available
from orchestrator.authoring.definition import definition_of, load_definition
from orchestrator.authoring.rules import node_problems
from orchestrator.documents import Document, read_document
from orchestrator.errors import InvalidExecution, InvalidWorkflow, Problem
from orchestrator.jsonvalues import canonical, first_problem, normalised
from orchestrator.problems import problems_of
from orchestrator.schemas import input_problems, schema_problems
from orchestrator.workflow_spec import NodeSpec, WorkflowSpec

if TYPE_CHECKING:
    from orchestrator.model import Workflow

__all__ = [
    "Document",
    "WorkflowSpec",
    "check_available",
    "check_input",
    "compile_workflow",
    "load_definition",
    "read_document",
]

MAX_SPEC = 4 << 20  # characters of the normalised definition: every worker keeps it, every execution is pinned to it


def compile_workflow(spec: Mapping[str, Any], *, namespace: str, name: str) -> Workflow:
    """The workflow that a `spec` describes; raises InvalidWorkflow with all problems found, by path."""
    if not isinstance(spec, Mapping):
        raise InvalidWorkflow([Problem("spec", "must be a map")])
    if problem := first_problem(spec, "spec"):
        raise InvalidWorkflow([problem])
    written = normalised(spec)
    shape, problems = _shape(written)
    nodes = dict(enumerate(shape.nodes)) if shape else _sound_nodes(written)
    ids = _ids(written)
    problems.extend(node_problems(nodes, ids))
    problems.extend(_spec_problems(written, shape, ids))
    if shape is None or problems:
        raise InvalidWorkflow(list(dict.fromkeys(problems)))
    definition = definition_of(shape)
    if len(canonical(definition)) > MAX_SPEC:
        raise InvalidWorkflow([Problem("spec", f"is larger than {MAX_SPEC} characters; hand large values in as input")])
    return load_definition(definition, f"{namespace}/{name}")


def check_input(workflow: Workflow, value: Any) -> None:
    """Raise InvalidExecution, with paths such as `spec.input.amount`, if the input does not fit the workflow."""
    if problems := input_problems(workflow.input_schema, value, "spec.input"):
        raise InvalidExecution(problems)


def _spec_problems(written: Mapping[str, Any], shape: WorkflowSpec | None, ids: list[str]) -> list[Problem]:
    """What is wrong with the fields beside the nodes."""
    problems: list[Problem] = []
    schema = shape.input.schema_ if shape else _schema(written)
    if schema is not None:
        problems.extend(schema_problems(schema, "spec.input.schema"))
    known = frozenset(ids)
    problems.extend(expressions.check(written.get("output"), "spec.output", upstream=known, known=known))
    concurrency = written.get("concurrency")
    key = concurrency.get("key") if isinstance(concurrency, dict) else None
    problems.extend(expressions.check(key, "spec.concurrency.key", upstream=(), known=known))
    return problems


def _shape(written: Mapping[str, Any]) -> tuple[WorkflowSpec | None, list[Problem]]:
    try:
        return WorkflowSpec.model_validate(written), []
    except ValidationError as error:
        return None, problems_of(error, "spec")


def _sound_nodes(written: Mapping[str, Any]) -> dict[int, NodeSpec]:
    """The nodes whose own shape is right, by their index: one misspelt field must not hide what else is wrong."""
    nodes: dict[int, NodeSpec] = {}
    raw = written.get("nodes")
    for index, node in enumerate(raw if isinstance(raw, list) else ()):
        try:
            nodes[index] = NodeSpec.model_validate(node)
        except ValidationError:
            continue
    return nodes


def _ids(written: Mapping[str, Any]) -> list[str]:
    """The id of every node that has one, whatever else is wrong with it."""
    raw = written.get("nodes")
    nodes = [node for node in raw if isinstance(node, dict)] if isinstance(raw, list) else []
    return [node["id"] for node in nodes if isinstance(node.get("id"), str)]


def _schema(written: Mapping[str, Any]) -> Mapping[str, Any] | None:
    input_ = written.get("input")
    schema = input_.get("schema") if isinstance(input_, dict) else None
    return schema if isinstance(schema, dict) else None
