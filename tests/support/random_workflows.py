"""Workflows by chance: every node type, joins, compensation and limits, from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.stores import workflow

if TYPE_CHECKING:
    import random

    from orchestrator.model import Workflow

_TYPES = ["transform"] * 5 + ["map"] * 2 + ["wait", "signal", "approval", "switch", "workflow", "workflow", "fail"]
_UNFIT = {"v": "${input.missing.deep}"}


def random_workflow(chance: random.Random, size: int) -> Workflow:
    """A valid workflow of so many nodes."""
    nodes = [_node(chance, index) for index in range(size)]
    for node in nodes:
        if node["type"] == "switch":
            _branches(chance, node, nodes)
    spec: dict[str, Any] = {
        "nodes": nodes,
        "defaults": {"retry": {"maxAttempts": 3, "initialInterval": "1s", "maxInterval": "4s", "jitter": "none"}},
        "onCancel": chance.choice(["stop", "compensate"]),
    }
    if chance.random() < 0.2:
        spec["timeout"] = f"{chance.randint(1, 30)}s"
    if chance.random() < 0.1:
        spec["output"] = _UNFIT
    return workflow(spec)


def _node(chance: random.Random, index: int) -> dict[str, Any]:
    needs = [f"n{other}" for other in range(index) if chance.random() < 2 / (index + 1)]
    type_ = chance.choice(_TYPES)
    node: dict[str, Any] = {"id": f"n{index}", "type": type_, "needs": needs, "with": _with(chance, type_)}
    if needs and chance.random() < 0.4:
        node["join"] = chance.choice(["any", "always", "always"])
    if chance.random() < 0.15:
        node["when"] = chance.choice(["${true}", "${false}", "${input.missing.deep}"])
    if type_ in ("transform", "map", "workflow") and chance.random() < 0.6:
        node["compensate"] = {"type": "transform", "whenFailed": chance.random() < 0.4}
        if chance.random() < 0.1:
            node["compensate"]["with"] = _UNFIT
    if type_ in ("transform", "map", "workflow", "signal") and chance.random() < 0.1:
        node["output"] = _UNFIT
    if chance.random() < 0.3:
        node["retry"] = {"retryable": ["Broken", "ChildFailed"], "initialInterval": chance.choice(["0s", "2s"])}
    return node


def _with(chance: random.Random, type_: str) -> dict[str, Any]:
    if type_ in ("signal", "approval"):
        return _signal(chance, type_)
    if type_ == "map":
        return _map(chance)
    fixed: dict[str, dict[str, Any]] = {
        "transform": _UNFIT if chance.random() < 0.05 else {},
        "wait": {"duration": f"{chance.randint(0, 5)}s"},
        "workflow": {"workflow": "child"},
        "fail": {"message": "on purpose"},
    }
    return fixed.get(type_, {})


def _signal(chance: random.Random, type_: str) -> dict[str, Any]:
    with_: dict[str, Any] = {"name": chance.choice(["red", "blue"]) if type_ == "signal" else "yes"}
    if chance.random() < 0.5:
        with_["timeout"] = "3s"
        if chance.random() < 0.5:
            with_["default"] = False
    if type_ == "approval" and chance.random() < 0.3:
        with_["onReject"] = "continue"
    return with_


def _map(chance: random.Random) -> dict[str, Any]:
    do: dict[str, Any] = {"type": chance.choice(["transform", "workflow"])}
    if do["type"] == "workflow":
        do["with"] = {"workflow": "child"}
    elif chance.random() < 0.2:
        do["with"] = {"v": "${10 / item}"}  # unfit for an item that is 0
    items = [chance.randint(0, 2) for _ in range(chance.randint(0, 5))]
    return {
        "items": items if chance.random() < 0.9 else "${input.missing.deep}",
        "concurrency": chance.randint(1, 3),
        "tolerate": chance.choice([0, 0, 1, "50%"]),
        "do": do,
    }


def _branches(chance: random.Random, switch: dict[str, Any], nodes: list[dict[str, Any]]) -> None:
    behind = [node["id"] for node in nodes if switch["id"] in node["needs"]]
    if not behind:
        switch.update(type="transform")
        return
    whens = ["${true}", "${false}", "${input.missing.deep}"]
    cases = [
        {"when": chance.choices(whens, [4, 4, 1])[0], "to": chance.sample(behind, chance.randint(1, len(behind)))}
        for _ in range(chance.randint(1, 3))
    ]
    switch["with"] = {"cases": cases, "default": chance.sample(behind, chance.randint(0, len(behind)))}
