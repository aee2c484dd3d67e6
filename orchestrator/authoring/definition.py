"""The normalised definition of a workflow, and the model of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator import durations
from orchestrator.errors import InvalidWorkflow
from orchestrator.jsonvalues import canonical, normalised
from orchestrator.model import Concurrency, Join, Node, OnLimit, RetryPolicy, Workflow
from orchestrator.nodes.mapping import MapNode
from orchestrator.problems import problems_of
from orchestrator.workflow_spec import CompensateSpec, NodeSpec, RetrySpec, WorkflowSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TIMEOUT = "30s"
DEFAULT_RETRY: Mapping[str, Any] = {
    "maxAttempts": 5,
    "initialInterval": "500ms",
    "multiplier": 2,
    "maxInterval": "1m",
    "jitter": "full",
}
_DURATIONS = frozenset({"initialInterval", "maxInterval", "maxElapsed"})


def definition_of(shape: WorkflowSpec) -> dict[str, Any]:
    """The definition of a checked spec: one form for one meaning, its defaults folded into every node.

    What is not written does not stand in it, so that a field of a later version changes no revision.
    """
    definition: dict[str, Any] = {"nodes": [_node_definition(node, shape) for node in shape.nodes]}
    if shape.description is not None:
        definition["description"] = shape.description
    if shape.input.schema_ is not None:
        definition["input"] = {"schema": shape.input.schema_}
    if shape.output is not None:
        definition["output"] = shape.output
    if shape.timeout is not None:
        definition["timeout"] = _exact(shape.timeout)
    if shape.concurrency is not None:
        definition["concurrency"] = shape.concurrency.model_dump(by_alias=True, exclude_none=True)
    if shape.on_cancel != "stop":
        definition["onCancel"] = shape.on_cancel
    return definition


def load_definition(definition: Mapping[str, Any], workflow_id: str) -> Workflow:
    """The workflow of a definition that compile_workflow accepted (`Workflow.definition`), with the same revision.

    Only the shape is read again: what one version accepted, a later and stricter one still runs.
    """
    definition = normalised(definition)
    try:
        shape = WorkflowSpec.model_validate(definition)
    except ValidationError as error:
        raise InvalidWorkflow(problems_of(error, "spec")) from error
    limit = shape.concurrency
    return Workflow(
        id=workflow_id,
        revision=hashlib.sha256(canonical(definition).encode()).hexdigest()[:16],
        nodes=tuple(_node(node, shape) for node in shape.nodes),
        input_schema=shape.input.schema_,
        output=shape.output,
        definition=definition,
        timeout=durations.parse(shape.timeout) if shape.timeout is not None else None,
        concurrency=Concurrency(limit.limit, OnLimit(limit.policy), limit.key) if limit else None,
        undo_on_cancel=shape.on_cancel == "compensate",
    )


def _node_definition(node: NodeSpec, shape: WorkflowSpec) -> dict[str, Any]:
    definition: dict[str, Any] = {
        "id": node.id,
        "type": node.type,
        "needs": list(node.needs),
        "with": node.with_,
        "retry": _retry_definition(shape.defaults.retry, node.retry),
        "timeout": _exact(node.timeout or shape.defaults.timeout or DEFAULT_TIMEOUT),
    }
    if node.when is not None:
        definition["when"] = node.when
    if node.join != "all":
        definition["join"] = node.join
    if node.output is not None:
        definition["output"] = node.output
    if node.compensate is not None:
        definition["compensate"] = _undo_definition(node.compensate, shape)
    return definition


def _undo_definition(undo: CompensateSpec, shape: WorkflowSpec) -> dict[str, Any]:
    definition: dict[str, Any] = {
        "type": undo.type,
        "with": undo.with_,
        "retry": _retry_definition(shape.defaults.retry, undo.retry),
        "timeout": _exact(undo.timeout or shape.defaults.timeout or DEFAULT_TIMEOUT),
    }
    if undo.when_failed:
        definition["whenFailed"] = True
    return definition


def _retry_definition(defaults: RetrySpec, own: RetrySpec) -> dict[str, Any]:
    written = {**DEFAULT_RETRY, **_set(defaults), **_set(own)}
    return {key: _exact(value) if key in _DURATIONS else value for key, value in written.items()}


def _set(retry: RetrySpec) -> dict[str, Any]:
    written: dict[str, Any] = normalised(retry.model_dump(by_alias=True, exclude_none=True))
    return written


def _exact(duration: str) -> str:
    """One text for one duration, to a millisecond: `90s` and `1.5m` are the same revision."""
    return durations.show(durations.parse(duration))


def _node(node: NodeSpec, shape: WorkflowSpec) -> Node:
    definition = _node_definition(node, shape)
    retry, timeout = _retry(definition["retry"]), durations.parse(definition["timeout"])
    body = None
    if node.type == MapNode.name:
        do = node.with_["do"]
        body = Node(node.id, do["type"], (), None, do.get("with", {}), retry, timeout, output=do.get("output"))
    undo = None
    if node.compensate is not None:
        backward = definition["compensate"]
        policy, limit = _retry(backward["retry"]), durations.parse(backward["timeout"])
        undo = Node(node.id, node.compensate.type, (), None, node.compensate.with_, policy, limit)
    return Node(
        id=node.id,
        type=node.type,
        needs=tuple(node.needs),
        when=node.when,
        with_=node.with_,
        retry=retry,
        timeout=timeout,
        join=Join(node.join),
        output=node.output,
        body=body,
        undo=undo,
        undo_failed=node.compensate is not None and node.compensate.when_failed,
    )


def _retry(definition: Mapping[str, Any]) -> RetryPolicy:
    elapsed, only = definition.get("maxElapsed"), definition.get("retryable")
    return RetryPolicy(
        max_attempts=definition["maxAttempts"],
        initial=durations.parse(definition["initialInterval"]),
        multiplier=float(definition["multiplier"]),
        maximum=durations.parse(definition["maxInterval"]),
        jitter=definition["jitter"],
        max_elapsed=durations.parse(elapsed) if elapsed is not None else None,
        only=tuple(only) if only is not None else None,
        non_retryable=tuple(definition.get("nonRetryable", ())),
    )
