"""The node types that V1 decides by itself: as the legacy engine did, one thing after the other, keeping nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator import expressions
from orchestrator.errors import StepError
from orchestrator.model import Join
from orchestrator.nodes import mapping
from orchestrator.nodes.fail import FailNode
from orchestrator.nodes.mapping import MapNode
from orchestrator.nodes.registry import V2_ONLY
from orchestrator.nodes.switch import SwitchNode, targets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from orchestrator.model import Node

    Attempt = Callable[[Node, Any, str | None], Awaitable[Any]]  # node, evaluated `with`, item's key


def passes_by(node: Node, skipped: Collection[str]) -> bool:
    """Whether a node is skipped because of those that it needs."""
    if node.join is Join.ALWAYS or not node.needs:
        return False
    missing = [need in skipped for need in node.needs]
    return all(missing) if node.join is Join.ANY else any(missing)


async def step(node: Node, scope: Mapping[str, Any], path: str, skipped: set[str], attempt: Attempt) -> Any:
    """A node's output; adds to `skipped` what a switch passes by. Raises StepError, ExpressionError."""
    if node.type in V2_ONLY:
        message = f"V1 keeps nothing to wait on, so it cannot run a {node.type}: run this workflow on V2"
        raise StepError("V2Only", message, retryable=False)
    if node.type == SwitchNode.name:
        return _switch(node, scope, path, skipped)
    if node.type == MapNode.name and node.body is not None:
        return await _map(node, node.body, scope, path, attempt)
    with_ = expressions.evaluate(node.with_, scope, f"{path}.with")
    if node.type == FailNode.name:
        parsed: Any = FailNode.parse(with_)
        raise StepError(parsed.kind, parsed.message, retryable=False)
    return _mapped(node, await attempt(node, with_, None), scope, f"{path}.output")


def _switch(node: Node, scope: Mapping[str, Any], path: str, skipped: set[str]) -> dict[str, Any]:
    taken, index = list(node.with_.get("default", ())), None
    for place, case in enumerate(node.with_["cases"]):
        if expressions.evaluate_condition(case["when"], scope, f"{path}.with.cases[{place}].when"):
            taken, index = list(case["to"]), place
            break
    skipped.update({target for _, target in targets(node.with_)} - set(taken))
    return {"case": index, "taken": taken}


async def _map(node: Node, body: Node, scope: Mapping[str, Any], path: str, attempt: Attempt) -> Any:
    if body.type in V2_ONLY:
        raise StepError("V2Only", f"V1 cannot run a {body.type} for each item: run this on V2", retryable=False)
    items = mapping.check_items(expressions.evaluate(node.with_["items"], scope, f"{path}.with.items"))
    template = node.with_.get("key")
    keys: list[Any] = list(range(len(items)))
    if template is not None:
        keys = [expressions.evaluate(template, {**scope, "item": item}, f"{path}.with.key") for item in items]
    results: list[Any] = []
    failures: list[dict[str, str]] = []
    for key, item in zip(mapping.check_keys(keys), items, strict=True):
        own = {**scope, "item": item}
        try:
            with_ = expressions.evaluate(body.with_, own, f"{path}.with.do.with")
            results.append(_mapped(body, await attempt(body, with_, key), own, f"{path}.with.do.output"))
        except StepError as error:
            results.append(None)
            failures.append({"key": key, "kind": error.kind, "message": error.message})
            if len(failures) > mapping.tolerated(node.with_, len(items)):
                raise
    return _mapped(replace(node, body=None), {"results": results, "failures": failures}, scope, f"{path}.output")


def _mapped(node: Node, result: Any, scope: Mapping[str, Any], path: str) -> Any:
    if node.output is None:
        return result
    return expressions.evaluate(node.output, {**scope, "result": result}, path)
