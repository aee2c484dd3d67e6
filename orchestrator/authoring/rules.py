"""The rules that a shape cannot say: ids, needs, cycles, types, and every expression in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator import expressions, graph
from orchestrator.errors import Problem
from orchestrator.jsonvalues import child
from orchestrator.nodes.mapping import MapNode
from orchestrator.nodes.registry import BACKWARD, FOR_ITEMS, NODE_TYPES, UNTIMED, WITHOUT_OUTPUT
from orchestrator.nodes.signal import SignalNode, signal_problems
from orchestrator.nodes.switch import SwitchNode, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from orchestrator.workflow_spec import NodeSpec

_KEYWORDS: Final = frozenset({"true", "false", "null", "in"})  # CEL could not name a node of such an id
_ITEM, _RESULT = frozenset({"item"}), frozenset({"result"})


@dataclass(frozen=True, slots=True)
class _Place:
    """A node, and what it may name."""

    node: NodeSpec
    path: str
    upstream: Container[str]
    ids: Mapping[str, int]  # all of them, with the index of the first of that id
    needs: Mapping[str, Sequence[str]]

    def check(self, value: Any, field: str, extra: frozenset[str] = frozenset()) -> list[Problem]:
        path = f"{self.path}.{field}"
        return expressions.check(value, path, upstream=self.upstream, known=self.ids, extra=extra)

    def check_condition(self, text: str, field: str) -> list[Problem]:
        return expressions.check_condition(text, f"{self.path}.{field}", upstream=self.upstream, known=self.ids)


def node_problems(nodes: Mapping[int, NodeSpec], ids: Sequence[str]) -> list[Problem]:
    """What is wrong with the nodes, whose own shape is right; `ids` are those of all nodes as written."""
    first: dict[str, int] = {}
    for index, node_id in enumerate(ids):
        first.setdefault(node_id, index)
    needs: dict[str, Sequence[str]] = {}
    for node in nodes.values():
        needs.setdefault(node.id, node.needs)  # of two nodes with one id the second is a problem of its own
    upstream = graph.Upstream(needs)
    problems: list[Problem] = []
    for index, node in nodes.items():
        place = _Place(node, f"spec.nodes[{index}]", upstream.of(node.id), first, needs)
        problems.extend(_identity(place, index))
        for rule in _RULES:
            problems.extend(rule(place))
    if cycle := graph.find_cycle(needs):
        index = first[cycle[-1]]
        problems.append(
            Problem(f"spec.nodes[{index}].needs", f"the nodes need each other in a circle: {' → '.join(cycle)}")
        )
    return problems


def _identity(place: _Place, index: int) -> Iterable[Problem]:
    node_id = place.node.id
    if node_id in _KEYWORDS:
        yield Problem(f"{place.path}.id", f"{node_id!r} is a word of the expression language; choose another id")
    elif place.ids[node_id] < index:
        yield Problem(f"{place.path}.id", f"{node_id!r} is the id of spec.nodes[{place.ids[node_id]}] already")


def _needs(place: _Place) -> Iterable[Problem]:
    seen: set[str] = set()
    for position, need in enumerate(place.node.needs):
        where = f"{place.path}.needs[{position}]"
        if need not in place.ids:
            yield Problem(where, f"there is no node {need!r}")
        elif need in seen:
            yield Problem(where, f"{need!r} stands here twice")
        seen.add(need)
    if place.node.join != "all" and not place.node.needs:
        yield Problem(f"{place.path}.join", f"{place.node.join!r} joins nothing: the node needs no other")


def _type(place: _Place) -> Iterable[Problem]:
    return _fits(place.node.type, place.node.with_, f"{place.path}", NODE_TYPES)


def _fits(type_: str, with_: Mapping[str, Any], path: str, allowed: Container[str]) -> Iterable[Problem]:
    """Whether a type stands where it may, and whether its `with` is its own."""
    there_are = ", ".join(sorted(name for name in NODE_TYPES if name in allowed))
    if type_ not in NODE_TYPES:
        return [Problem(f"{path}.type", f"{type_!r} is no node type; there are {there_are}")]
    if type_ not in allowed:
        return [Problem(f"{path}.type", f"a {type_} cannot stand here; there are {there_are}")]
    return NODE_TYPES[type_].check_with(with_, f"{path}.with")


def _with(place: _Place) -> Iterable[Problem]:
    """The expressions of `with`; those with names of their own are checked by the rules of their types."""
    own = _OWN_EXPRESSIONS.get(place.node.type, frozenset())
    return place.check({key: value for key, value in place.node.with_.items() if key not in own}, "with")


def _when(place: _Place) -> Iterable[Problem]:
    return [] if place.node.when is None else place.check_condition(place.node.when, "when")


def _output(place: _Place) -> Iterable[Problem]:
    if place.node.output is None:
        return []
    if place.node.type in WITHOUT_OUTPUT:
        return [Problem(f"{place.path}.output", f"a {place.node.type} has no output of its own to map")]
    return place.check(place.node.output, "output", _RESULT)


def _timeout(place: _Place) -> Iterable[Problem]:
    if place.node.timeout is None or place.node.type not in UNTIMED:
        return []
    own = " (with.timeout is how long it waits)" if place.node.type in (SignalNode.name, "approval") else ""
    return [Problem(f"{place.path}.timeout", f"a {place.node.type} has no attempt that could take too long{own}")]


def _switch(place: _Place) -> Iterable[Problem]:
    if place.node.type != SwitchNode.name or not isinstance(place.node.with_.get("cases"), list):
        return
    for index, case in enumerate(place.node.with_["cases"]):
        when = case.get("when") if isinstance(case, dict) else None
        if isinstance(when, str):
            yield from place.check_condition(when, f"with.cases[{index}].when")
        if not isinstance(case, dict) or not isinstance(case.get("to"), list):
            return  # its shape is a problem of its own
    for where, target in targets(place.node.with_):
        path = f"{place.path}.with.{where}"
        if target not in place.ids:
            yield Problem(path, f"there is no node {target!r}")
        elif place.node.id not in place.needs.get(target, ()):
            yield Problem(path, f"{target!r} does not need {place.node.id!r}: add it to its needs")


def _map(place: _Place) -> Iterable[Problem]:
    if place.node.type != MapNode.name:
        return
    with_ = place.node.with_
    if isinstance(with_.get("key"), str):
        yield from place.check(with_["key"], "with.key", _ITEM)
    do = with_.get("do")
    if not isinstance(do, dict) or not isinstance(do.get("type"), str) or not isinstance(do.get("with", {}), dict):
        return
    yield from _fits(do["type"], do.get("with", {}), f"{place.path}.with.do", FOR_ITEMS)
    yield from place.check(do.get("with"), "with.do.with", _ITEM)
    yield from place.check(do.get("output"), "with.do.output", _ITEM | _RESULT)


def _signal(place: _Place) -> Iterable[Problem]:
    is_signal = place.node.type == SignalNode.name
    return signal_problems(place.node.with_, f"{place.path}.with") if is_signal else []


def _compensate(place: _Place) -> Iterable[Problem]:
    undo = place.node.compensate
    if undo is None:
        return
    path = child(place.path, "compensate")
    yield from _fits(undo.type, undo.with_, path, BACKWARD)
    extra = _RESULT | _ITEM if place.node.type == MapNode.name else _RESULT
    yield from place.check(undo.with_, "compensate.with", extra)


_OWN_EXPRESSIONS: Final[Mapping[str, frozenset[str]]] = {
    MapNode.name: frozenset({"do", "key"}),
    SwitchNode.name: frozenset({"cases"}),
    SignalNode.name: frozenset({"schema"}),
}
_RULES: Final[tuple[Callable[[_Place], Iterable[Problem]], ...]] = (
    _needs,
    _type,
    _with,
    _when,
    _output,
    _timeout,
    _switch,
    _map,
    _signal,
    _compensate,
)
