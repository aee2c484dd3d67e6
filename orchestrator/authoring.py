"""From a workflow as people write it to `model.Workflow`: every problem, each with its path, or a value that runs.

    spec ─shape─▶ WorkflowSpec ─rules─▶ normalised definition ─▶ revision, model.Workflow

The normalised definition has the defaults folded into every node, so an execution that is pinned to it keeps its
retries and time-outs even when a later version of this program has other defaults.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from orchestrator import durations, expressions, graph
from orchestrator.documents import Document, read_document
from orchestrator.errors import InvalidExecution, InvalidWorkflow, Problem
from orchestrator.jsonvalues import canonical, first_problem, normalised
from orchestrator.model import Node, RetryPolicy, Workflow
from orchestrator.nodes.registry import NODE_TYPES, NOT_BUILT_YET
from orchestrator.problems import problems_of
from orchestrator.schemas import input_problems, schema_problems
from orchestrator.workflow_spec import NodeSpec, RetrySpec, WorkflowSpec

__all__ = [
    "Document",
    "WorkflowSpec",
    "check_input",
    "compile_workflow",
    "load_definition",
    "read_document",
]

DEFAULT_TIMEOUT = "30s"
DEFAULT_RETRY: Mapping[str, Any] = {
    "maxAttempts": 5,
    "initialInterval": "500ms",
    "multiplier": 2,
    "maxInterval": "1m",
    "jitter": "full",
}
MAX_SPEC = 256 * 1024  # characters of the normalised definition: every worker keeps it, every execution is pinned to it
_KEYWORDS = frozenset({"true", "false", "null", "in"})  # CEL could not name a node of such an id


def compile_workflow(spec: Mapping[str, Any], *, namespace: str, name: str) -> Workflow:
    """The workflow that a `spec` describes; raises InvalidWorkflow with all problems found, by path."""
    if not isinstance(spec, Mapping):
        raise InvalidWorkflow([Problem("spec", "must be a map")])
    if problem := first_problem(spec, "spec"):
        raise InvalidWorkflow([problem])
    written = normalised(spec)
    shape, problems = _shape(written)
    nodes = dict(enumerate(shape.nodes)) if shape else _sound_nodes(written)
    problems.extend(_node_problems(nodes, _ids(written)))
    schema = shape.input.schema_ if shape else _schema(written)
    if schema is not None:
        problems.extend(schema_problems(schema, "spec.input.schema"))
    ids = _ids(written)
    problems.extend(expressions.check(written.get("output"), "spec.output", upstream=ids, known=ids))
    if shape is None or problems:
        raise InvalidWorkflow(list(dict.fromkeys(problems)))
    definition = _definition(shape)
    if len(canonical(definition)) > MAX_SPEC:
        raise InvalidWorkflow([Problem("spec", f"is larger than {MAX_SPEC} characters; hand large values in as input")])
    return load_definition(definition, f"{namespace}/{name}")


def load_definition(definition: Mapping[str, Any], workflow_id: str) -> Workflow:
    """The workflow of a definition that compile_workflow accepted (`Workflow.definition`), with the same revision.

    Only the shape is read again: what one version accepted, a later and stricter one still runs.
    """
    definition = normalised(definition)
    try:
        shape = WorkflowSpec.model_validate(definition)
    except ValidationError as error:
        raise InvalidWorkflow(problems_of(error, "spec")) from error
    return Workflow(
        id=workflow_id,
        revision=hashlib.sha256(canonical(definition).encode()).hexdigest()[:16],
        nodes=tuple(_node(node, shape) for node in shape.nodes),
        input_schema=shape.input.schema_,
        output=shape.output,
        definition=definition,
    )


def check_input(workflow: Workflow, value: Any) -> None:
    """Raise InvalidExecution, with paths such as `spec.input.amount`, if the input does not fit the workflow."""
    if problems := input_problems(workflow.input_schema, value, "spec.input"):
        raise InvalidExecution(problems)


# ---- shape


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


# ---- rules


def _node_problems(nodes: Mapping[int, NodeSpec], ids: list[str]) -> list[Problem]:
    needs: dict[str, list[str]] = {}
    for node in nodes.values():
        needs.setdefault(node.id, node.needs)  # of two nodes with one id the second is a problem of its own
    upstream = graph.upstream(needs)
    problems: list[Problem] = []
    for index, node in nodes.items():
        path = f"spec.nodes[{index}]"
        problems.extend(_identity(node, ids, index, path))
        problems.extend(_needs(node, ids, path))
        problems.extend(_type(node, path))
        readable = upstream[node.id] - {node.id}
        problems.extend(expressions.check(node.with_, f"{path}.with", upstream=readable, known=ids))
        if node.when is not None:
            problems.extend(expressions.check_condition(node.when, f"{path}.when", upstream=readable, known=ids))
    if cycle := graph.find_cycle(needs):
        index = next(index for index, node in nodes.items() if node.id == cycle[-1])
        problems.append(
            Problem(f"spec.nodes[{index}].needs", f"the nodes need each other in a circle: {' → '.join(cycle)}")
        )
    return problems


def _identity(node: NodeSpec, ids: list[str], index: int, path: str) -> list[Problem]:
    if node.id in _KEYWORDS:
        return [Problem(f"{path}.id", f"{node.id!r} is a word of the expression language; choose another id")]
    first = ids.index(node.id)
    return [Problem(f"{path}.id", f"{node.id!r} is the id of spec.nodes[{first}] already")] if first < index else []


def _needs(node: NodeSpec, ids: list[str], path: str) -> list[Problem]:
    problems = []
    for position, need in enumerate(node.needs):
        place = f"{path}.needs[{position}]"
        if need not in ids:
            problems.append(Problem(place, f"there is no node {need!r}"))
        elif need in node.needs[:position]:
            problems.append(Problem(place, f"{need!r} stands here twice"))
    return problems


def _type(node: NodeSpec, path: str) -> list[Problem]:
    if node.type in NOT_BUILT_YET:
        return [Problem(f"{path}.type", f"{node.type!r} is not built yet; there are {', '.join(sorted(NODE_TYPES))}")]
    if node.type not in NODE_TYPES:
        return [Problem(f"{path}.type", f"{node.type!r} is no node type; there are {', '.join(sorted(NODE_TYPES))}")]
    return NODE_TYPES[node.type].check_with(node.with_, f"{path}.with")


# ---- the normalised definition, and the model of it


def _definition(shape: WorkflowSpec) -> dict[str, Any]:
    definition: dict[str, Any] = {"nodes": [_definition_of(node, shape) for node in shape.nodes]}
    if shape.description is not None:
        definition["description"] = shape.description
    if shape.input.schema_ is not None:
        definition["input"] = {"schema": shape.input.schema_}
    if shape.output is not None:
        definition["output"] = shape.output
    return definition


def _definition_of(node: NodeSpec, shape: WorkflowSpec) -> dict[str, Any]:
    written = {**DEFAULT_RETRY, **_set(shape.defaults.retry), **_set(node.retry)}
    definition: dict[str, Any] = {
        "id": node.id,
        "type": node.type,
        "needs": list(node.needs),
        "with": node.with_,
        "retry": {key: _exact(value) if key in _DURATIONS else value for key, value in written.items()},
        "timeout": _exact(node.timeout or shape.defaults.timeout or DEFAULT_TIMEOUT),
    }
    if node.when is not None:
        definition["when"] = node.when
    return definition


_DURATIONS = frozenset({"initialInterval", "maxInterval", "maxElapsed"})


def _set(retry: RetrySpec) -> dict[str, Any]:
    written: dict[str, Any] = normalised(retry.model_dump(by_alias=True, exclude_none=True))
    return written


def _exact(duration: str) -> str:
    """One text for one duration, to a millisecond: `90s` and `1.5m` are the same revision."""
    return durations.show(durations.parse(duration))


def _node(node: NodeSpec, shape: WorkflowSpec) -> Node:
    definition = _definition_of(node, shape)
    return Node(
        id=node.id,
        type=node.type,
        needs=tuple(node.needs),
        when=node.when,
        with_=node.with_,
        retry=_retry(definition["retry"]),
        timeout=durations.parse(definition["timeout"]),
    )


def _retry(definition: Mapping[str, Any]) -> RetryPolicy:
    elapsed = definition.get("maxElapsed")
    return RetryPolicy(
        max_attempts=definition["maxAttempts"],
        initial=durations.parse(definition["initialInterval"]),
        multiplier=float(definition["multiplier"]),
        maximum=durations.parse(definition["maxInterval"]),
        jitter=definition["jitter"],
        max_elapsed=durations.parse(elapsed) if elapsed is not None else None,
    )
