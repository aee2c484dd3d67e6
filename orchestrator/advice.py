"""What experience says about workflows that run, but not as their authors will want. Pure.

Only what is certain from the text is told: a rule that cries wolf is worse than none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from orchestrator import durations
from orchestrator.authoring.definition import DEFAULT_TIMEOUT
from orchestrator.errors import Problem
from orchestrator.jsonvalues import child
from orchestrator.model import Join, OnLimit
from orchestrator.nodes.approval import ApprovalNode
from orchestrator.nodes.child import ChildNode
from orchestrator.nodes.container import ContainerNode
from orchestrator.nodes.http import HttpNode
from orchestrator.nodes.mapping import concurrency
from orchestrator.nodes.registry import WITHOUT_ATTEMPTS
from orchestrator.nodes.signal import SignalNode
from orchestrator.templates import TemplateSyntaxError, is_template, parse
from orchestrator.wording import length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import timedelta

    from orchestrator.model import Node, Workflow

_CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})  # RFC 9110, 9.2.1: the methods that are not safe
_SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
_SECRET_FIELDS: Final = re.compile(
    r"^(password|passwd|passphrase|client_?secret|api_?key|access_?token|refresh_?token|private_?key)$", re.IGNORECASE
)
_TOO_HASTY: Final = f"is missing: a container has {DEFAULT_TIMEOUT} then, and pulling its image is part of that"
_GUARDED: Final = re.compile(r"\bnull\b|\bhas\s*\(")


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to think about: by which rule, and where."""

    rule: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class _Facts:
    workflow: Workflow
    written: Mapping[str, Any]  # the spec as its author wrote it, without the defaults
    others: Mapping[str, Workflow] = field(default_factory=dict)  # workflows that are known, by id

    def path(self, node: Node, place: str) -> str:
        return f"spec.nodes[{self.workflow.position[node.id]}].{place}"

    def child_of(self, node: Node) -> tuple[str, str] | None:
        """The id of the workflow that a node runs as a child, and where that is written."""
        worker = node.body or node
        if worker.type != ChildNode.name:
            return None
        namespace = self.workflow.id.partition("/")[0]
        where = "with.do.with.workflow" if node.body is not None else "with.workflow"
        return f"{namespace}/{worker.with_.get('workflow')}", where


def advise(
    workflow: Workflow, written: Mapping[str, Any], others: Mapping[str, Workflow] | None = None
) -> list[Advice]:
    """What to think about; `written` is the spec that was compiled, `others` are workflows it may run as children."""
    facts = _Facts(workflow, written, others or {})
    return [Advice(name, problem) for name, rule in RULES.items() for problem in rule(facts)]


def _endless_wait(facts: _Facts) -> Iterator[Problem]:
    if facts.workflow.timeout is not None:
        return
    for node in facts.workflow.nodes:
        if node.type in (SignalNode.name, ApprovalNode.name) and "timeout" not in node.with_:
            message = "waits for ever if nobody sends it: say a timeout, here or as spec.timeout"
            yield Problem(facts.path(node, "with"), message)


def _plain_secret(facts: _Facts) -> Iterator[Problem]:
    for node, with_, place in _requests(facts):
        for name, value in _items(with_.get("headers")):
            if name.lower() in _SECRET_HEADERS and isinstance(value, str) and value:
                yield from _told(value, child(facts.path(node, f"{place}.headers"), name))
        for part in ("body", "form", "query"):
            for where, name, value in _fields(with_.get(part), facts.path(node, f"{place}.{part}")):
                if _SECRET_FIELDS.match(name) and isinstance(value, str) and value:
                    yield from _told(value, where)


def _told(value: str, path: str) -> Iterator[Problem]:
    if not is_template(value):
        yield Problem(
            path, "is a secret in plain text, for all who may read the workflow: refer to it by {secret, key}"
        )
    elif any(re.search(r"\binput\b", text) for text in _expressions(value)):
        yield Problem(path, "is a secret in the input, which is stored with the history: refer to it by {secret, key}")


def _late_timeout(facts: _Facts) -> Iterator[Problem]:
    limit = facts.workflow.timeout
    if limit is None:
        return
    raw = _raw(facts)
    for node in facts.workflow.nodes:
        if node.timeout > limit and "timeout" in raw.get(node.id, {}):
            yield Problem(facts.path(node, "timeout"), f"is longer than the execution may take ({length(limit)})")
        for name in ("duration", "timeout"):
            waits = _duration(node.with_.get(name)) if node.type in WITHOUT_ATTEMPTS else None
            if waits is not None and waits >= limit:
                path = facts.path(node, f"with.{name}")
                yield Problem(
                    path, f"never passes: the execution may take {length(limit)} (spec.timeout) and fails then"
                )


def _no_time_to_pull(facts: _Facts) -> Iterator[Problem]:
    """The time of a container is counted from its Job's beginning."""
    if "timeout" in (facts.written.get("defaults") or {}):
        return
    raw = _raw(facts)
    for node in facts.workflow.nodes:
        worker, compensate = node.body or node, raw.get(node.id, {}).get("compensate")
        if worker.type == ContainerNode.name and "timeout" not in raw.get(node.id, {}):
            yield Problem(facts.path(node, "timeout"), _TOO_HASTY)
        if node.undo is not None and node.undo.type == ContainerNode.name and "timeout" not in (compensate or {}):
            yield Problem(facts.path(node, "compensate.timeout"), _TOO_HASTY)


def _no_effect(facts: _Facts) -> Iterator[Problem]:
    raw = _raw(facts)
    for node in facts.workflow.nodes:
        if node.type in WITHOUT_ATTEMPTS and "retry" in raw.get(node.id, {}):
            yield Problem(facts.path(node, "retry"), f"has no effect on a {node.type}")
    if facts.workflow.undo_on_cancel and not any(node.undo for node in facts.workflow.nodes):
        yield Problem("spec.onCancel", "has no effect: no node says how to compensate it")


def _half_a_saga(facts: _Facts) -> Iterator[Problem]:
    nodes = facts.workflow.nodes
    if not any(node.undo for node in nodes):
        return
    for node in nodes:
        worker = node.body or node
        changes = worker.type == HttpNode.name and str(worker.with_.get("method", "GET")) in _CHANGES
        if changes and node.undo is None and facts.workflow.dependents[node.id]:
            message = "others are compensated when a later step fails, and what this one did stays"
            yield Problem(facts.path(node, "compensate"), f"is missing: {message}")


def _may_be_null(facts: _Facts) -> Iterator[Problem]:
    """A join that does not wait for all reads fields of what may not be there."""
    for node in facts.workflow.nodes:
        if node.join is Join.ALL or (node.join is Join.ANY and len(node.needs) == 1):
            continue
        for where, text in (*_templates(node.with_, facts.path(node, "with")), *_when(facts, node)):
            for expression in _expressions(text):
                unsure = [need for need in node.needs if re.search(rf"\bnodes\.{need}\.output\s*[.\[]", expression)]
                if unsure and not _GUARDED.search(expression):
                    why = "not done yet" if node.join is Join.ANY else "not done, or failed"
                    message = f"reads a field of {unsure[0]!r}, which may be {why}: null then, and that fails"
                    yield Problem(where, f"{message}; ask `nodes.{unsure[0]}.output != null` first")


def _children_over_limit(facts: _Facts) -> Iterator[Problem]:
    for node in facts.workflow.nodes:
        found = facts.child_of(node) if node.body is not None else None
        limited = facts.others.get(found[0]) if found else None
        if limited is None or limited.concurrency is None or limited.concurrency.key is not None:
            continue
        at_once, limit = concurrency(node.with_), limited.concurrency
        if at_once > limit.limit:
            fate = {OnLimit.QUEUE: "queue", OnLimit.SKIP: "end as cancelled", OnLimit.REPLACE: "cancel each other"}
            message = f"{at_once} at once, and {limited.id} allows {limit.limit}: the others {fate[limit.policy]}"
            yield Problem(facts.path(node, "with.concurrency"), message)


def _own_limit(facts: _Facts) -> Iterator[Problem]:
    limit = facts.workflow.concurrency
    for node in facts.workflow.nodes:
        found = facts.child_of(node)
        if limit is not None and limit.key is None and found is not None and found[0] == facts.workflow.id:
            message = f"runs this workflow, whose limit is {limit.limit}, while it holds a slot of it"
            yield Problem(facts.path(node, found[1]), f"{message}: when all slots are held so, none ever goes on")


#: By the name under which a piece of advice is told.
RULES: Final[Mapping[str, Callable[[_Facts], Iterable[Problem]]]] = {
    "endless-wait": _endless_wait,
    "plain-secret": _plain_secret,
    "late-timeout": _late_timeout,
    "no-time-to-pull": _no_time_to_pull,
    "no-effect": _no_effect,
    "half-a-saga": _half_a_saga,
    "may-be-null": _may_be_null,
    "children-over-limit": _children_over_limit,
    "own-limit": _own_limit,
}


def _requests(facts: _Facts) -> Iterator[tuple[Node, Mapping[str, Any], str]]:
    """Every `with` of an HTTP request: of nodes, of what maps do, of compensations."""
    for node in facts.workflow.nodes:
        places = ((node, "with"), (node.body, "with.do.with"), (node.undo, "compensate.with"))
        yield from ((node, part.with_, where) for part, where in places if part and part.type == HttpNode.name)


def _raw(facts: _Facts) -> dict[str, Mapping[str, Any]]:
    return {node["id"]: node for node in facts.written["nodes"]}


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, dict) else ()


def _fields(value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Every member of every map within a value: its place, its name, its value."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield child(path, name), str(name), member
            yield from _fields(member, child(path, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _fields(member, child(path, index))


def _templates(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if is_template(value):
            yield path, value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _templates(member, child(path, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _templates(member, child(path, index))


def _when(facts: _Facts, node: Node) -> list[tuple[str, str]]:
    return [] if node.when is None else [(facts.path(node, "when"), node.when)]


def _expressions(text: str) -> list[str]:
    try:
        return [expression.text for expression in parse(text).expressions]
    except TemplateSyntaxError:  # told as a problem when it was compiled
        return []


def _duration(value: Any) -> timedelta | None:
    try:
        return durations.parse(value) if isinstance(value, str) and not is_template(value) else None
    except ValueError:
        return None
