"""What the steps of an execution do or wait for, each in a few words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.decide import Frontier, decide
from orchestrator.model import StepStatus
from orchestrator.nodes.approval import ApprovalNode
from orchestrator.nodes.python import PythonNode
from orchestrator.nodes.wait import WaitNode
from orchestrator.wording import count, failure, length, moment, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from orchestrator.model import Execution, Node, StepState, Workflow

_TOLD: Final = 3  # steps that a sentence tells of
_NO_FUNCTION: Final = "FunctionNotRegistered"  # the failure of a worker that lacks the code


def running(workflow: Workflow, x: Execution, now: datetime, owner: str | None, since: datetime) -> str | None:
    """What moves, or is waited for: retries first, for they are what people ask about. None: nothing that is known."""
    frontier = Frontier.of(workflow, x)
    runs = [run.key for run in decide(workflow, x, (), now).runs if run.key not in frontier.retrying]
    maps = set(frontier.maps)  # each tells of its own items
    parts = [standing(workflow, x, key, now) for key in frontier.retrying if key.partition("/")[0] not in maps]
    steps = [key for key in runs if key.partition("/")[0] not in maps]
    if steps:
        parts.append(_runs(workflow, x, steps, owner, length(now - since)))
    parts += [standing(workflow, x, key, now) for key in frontier.maps]
    waiting = [key for key in frontier.waiting if key.partition("/")[0] not in maps]
    parts += [standing(workflow, x, key, now) for key in waiting[:_TOLD]]
    more = len(waiting) - _TOLD
    if more > 0:
        parts.append(f"{count(more, 'step')} more wait")
    if not parts:
        return None
    told, left = parts[:_TOLD], len(parts) - _TOLD
    return "; ".join(told) + (f"; and {left} more" if left > 0 else "")


def _runs(workflow: Workflow, x: Execution, keys: list[str], owner: str | None, since: str) -> str:
    if owner is None:
        return f"{quoted(keys)} begins as soon as a worker takes it" if len(keys) == 1 else f"next: {quoted(keys)}"
    if len(keys) > 1:
        return f"runs {count(len(keys), 'step')} on worker {owner}: {quoted(keys)}"
    key = keys[0]
    return f"runs `{key}`{_attempt(workflow, x, key)} on worker {owner} for {since}"


def standing(workflow: Workflow, x: Execution, key: str, now: datetime) -> str:
    """One step that has begun and is not over, or a compensation."""
    state, node = x.step(key), node_of(workflow, key)
    if state.status is StepStatus.RETRYING:
        return _retrying(workflow, x, key, now)
    if state.status is StepStatus.MAPPING:
        return "; ".join(_mapping(workflow, x, key, now))
    if state.status is StepStatus.WAITING:
        return _waiting(node, key, state, now)
    return f"runs `{key}`{_attempt(workflow, x, key)}"


def node_of(workflow: Workflow, key: str) -> Node:
    """What is run for a step: a node, a map's body, or a compensation."""
    name, _, backward = key.partition(":")
    node_id, _, item = name.partition("/")
    node = workflow.by_id[node_id]
    if backward and node.undo is not None:
        return node.undo
    return node.body if item and node.body is not None else node


def _attempt(workflow: Workflow, x: Execution, key: str) -> str:
    attempts = x.step(key).attempts
    return f" (attempt {attempts + 1} of {node_of(workflow, key).retry.max_attempts})" if attempts else ""


def _retrying(workflow: Workflow, x: Execution, key: str, now: datetime) -> str:
    state, node = x.step(key), node_of(workflow, key)
    attempt = f"attempt {state.attempts + 1} of {node.retry.max_attempts}"
    wait = f"in {length(state.due - now)}" if state.due and state.due > now else "now"
    if state.failure is not None and state.failure.kind == _NO_FUNCTION and node.type == PythonNode.name:
        return f"no worker has `{node.with_['call']}`, which `{key}` calls: tries again {wait} ({attempt})"
    return f"retries `{key}` {wait} after {failure(state.failure)} ({attempt})"


def _waiting(node: Node, key: str, state: StepState, now: datetime) -> str:
    if state.child is not None:
        return f"`{key}` waits for child execution {state.child}"
    if node.type == WaitNode.name and state.due is not None and state.due <= now:
        return f"timer `{key}` is over"
    if node.type == WaitNode.name and state.due is not None:
        return f"waits for timer `{key}` for another {length(state.due - now)} (until {moment(state.due)})"
    until = "for ever" if state.due is None else f"until {moment(state.due)}, another {length(state.due - now)}"
    if node.type == ApprovalNode.name:
        approvers = node.with_.get("approvers")
        by = f" by {', '.join(approvers)}" if approvers else ""
        return f"waits for approval `{key}`{by} {until}"
    at = "" if state.signal == key else f" (node `{key}`)"
    return f"waits for signal `{state.signal}`{at} {until}"


def _mapping(workflow: Workflow, x: Execution, key: str, now: datetime) -> Iterator[str]:
    keys = [f"{key}/{item}" for item in x.step(key).keys]
    states = [x.step(item) for item in keys]
    failed = sum(state.status is StepStatus.FAILED for state in states)
    done = sum(state.status.terminal for state in states) - failed
    lost = f", {failed} failed" if failed else ""
    yield f"map `{key}`: {done} of {count(len(keys), 'item')}{lost}"
    retrying = [item for item, state in zip(keys, states, strict=True) if state.status is StepStatus.RETRYING]
    if retrying:
        more = f" and {len(retrying) - 1} more" if len(retrying) > 1 else ""
        yield f"{_retrying(workflow, x, retrying[0], now)}{more}"
    children = [state.child for state in states if state.status is StepStatus.WAITING]
    if children:
        yield f"waits for {count(len(children), 'child execution')} ({children[0]})"
