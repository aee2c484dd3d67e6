"""What an execution costs grows with its size, not with its square: by counting, never by a clock."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import decide, expressions
from orchestrator.decide import turn
from orchestrator.model import Execution, Status
from tests.support.driven import Driven
from tests.support.engine import node

if TYPE_CHECKING:
    from collections.abc import Callable

UNDO = {"compensate": {"type": "transform"}}


def chain(size: int) -> Driven:
    return Driven(*(node(f"n{i}", *([f"n{i - 1}"] if i else []), **UNDO) for i in range(size)), checked=False)


def fan_out(size: int) -> Driven:
    middle = [node(f"n{i}", "a") for i in range(size)]
    return Driven(node("a"), *middle, node("z", *(f"n{i}" for i in range(size))), checked=False)


def fan_in_any(size: int) -> Driven:
    skipped = [node(f"n{i}", "a", when="${false}") for i in range(size)]
    return Driven(node("a"), *skipped, node("z", *(f"n{i}" for i in range(size)), join="any"), checked=False)


def mapped(size: int, **with_: Any) -> Driven:
    items = {"items": "${input.items}", "do": {"type": "transform"}, "concurrency": 20} | with_
    return Driven(node("m", type_="map", **{"with": items}, **UNDO), input_=inputs(size), checked=False)


def map_of_children(size: int) -> Driven:
    return mapped(size, do={"type": "workflow", "with": {"workflow": "child"}})


def map_of_unfit(size: int) -> Driven:
    return mapped(size, do={"type": "transform", "with": {"v": "${item.deep}"}}, tolerate="100%")


def children(size: int) -> Driven:
    steps = [node(f"n{i}", type_="workflow", **{"with": {"workflow": "child"}}) for i in range(size)]
    return Driven(*steps, checked=False)


def timers(size: int) -> Driven:
    return Driven(*(node(f"n{i}", type_="wait") for i in range(size)), checked=False)


def signals(size: int) -> Driven:
    steps = [node(f"n{i}", type_="signal", **{"with": {"name": "go"}}) for i in range(size)]
    return Driven(*steps, checked=False)


def maps(size: int) -> Driven:
    items = {"items": [1], "do": {"type": "transform"}}
    return Driven(*(node(f"n{i}", type_="map", **{"with": items}) for i in range(size)), checked=False)


def switched(size: int) -> Driven:
    cases = [{"when": "${false}", "to": [f"n{i}"]} for i in range(size)]
    ways = node("s", type_="switch", **{"with": {"cases": cases}})
    return Driven(ways, *(node(f"n{i}", "s") for i in range(size)), checked=False)


def inputs(size: int) -> dict[str, Any]:
    return {"items": list(range(size))}


def drive(x: Driven, *, last: Callable[[Driven, str], None] | None = None) -> None:
    """To the end, one result a turn: the dearest way. `last` ends the last attempt of all, if it is given."""
    rounds = 0
    while not x.status.terminal:
        rounds += 1
        assert rounds < 100_000
        if x.in_flight:
            key = next(iter(x.in_flight))
            if x.in_flight[key].node.type == "workflow":
                x.begin_child(key)
            elif last is not None and x.state.done + 1 == len(x.workflow.nodes):
                last(x, key)
            else:
                x.complete(key)
        elif x.frontier is not None and x.frontier.children:
            x.children_end()
        elif x.wake_at is not None:
            x.wait((x.wake_at - x.now).total_seconds())
        else:
            x.signals("go", len(x.workflow.nodes))


def cost(build: Callable[[int], Driven], size: int, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Counter[str]:
    """How often an execution of that size looks at a step, tries a rule, evaluates a value, looks at a node's turn."""
    counted: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            counted[name] += 1
            return function(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(Execution, "step", counting("steps", Execution.step))
        patch.setattr(turn.Turn, "may_move", counting("moves", turn.Turn.may_move))
        patch.setattr(expressions, "evaluate", counting("evaluations", expressions.evaluate))
        patch.setattr(decide, "RULES", tuple(counting("rules", rule) for rule in decide.RULES))
        patch.setattr(decide, "ORDINARY", tuple(counting("rules", rule) for rule in decide.ORDINARY))
        drive(build(size), **options)
    return counted


SHAPES = [
    chain,
    fan_out,
    fan_in_any,
    mapped,
    map_of_children,
    map_of_unfit,
    children,
    timers,
    signals,
    maps,
    switched,
]


@pytest.mark.parametrize("shape", SHAPES)
def test_twice_the_size_costs_twice_as_much(shape: Callable[[int], Driven], monkeypatch: pytest.MonkeyPatch) -> None:
    once, twice = cost(shape, 150, monkeypatch), cost(shape, 300, monkeypatch)
    assert once["steps"] > 150
    assert {name: twice[name] for name in twice if twice[name] > 2.2 * once[name] + 50} == {}


def test_undoing_twice_as_many_steps_costs_twice_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    def undone(size: int) -> Counter[str]:
        return cost(chain, size, monkeypatch, last=lambda x, key: x.fail(key))

    once, twice = undone(150), undone(300)
    assert {name: twice[name] for name in twice if twice[name] > 2.2 * once[name] + 50} == {}


def test_an_execution_that_is_undone_undoes_all_of_it() -> None:
    x = chain(20)
    drive(x, last=lambda x, key: x.fail(key))
    assert (x.status, len(x.undone)) == (Status.FAILED, 19)
