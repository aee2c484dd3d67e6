"""Workflows for tests under faults: between them every node type, every join, and every way in which one ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.model import Status

QUICK = {"maxAttempts": 3, "initialInterval": "10ms", "maxInterval": "20ms", "jitter": "none"}
EXECUTION = "x"


def work(id_: str, *needs: str, **fields: Any) -> dict[str, Any]:
    """A python step that leaves its key in the book of effects."""
    return {"id": id_, "type": "python", "needs": list(needs), "with": {"call": "effect"}, **fields}


UNDO = {"type": "python", "with": {"call": "effect"}}


@dataclass(frozen=True)
class Shape:
    """A workflow, what is sent to it, and what must come of it."""

    spec: dict[str, Any]
    status: Status
    effects: frozenset[str]  # the steps that must have had their effect: keys behind `execution/`
    children: dict[str, dict[str, Any]] = field(default_factory=dict)  # specs of other workflows, by name
    signals: dict[str, Any] = field(default_factory=dict)  # sent at once, before anybody waits for them
    cancel_at: str | None = None  # a cancel is asked for once this step had its effect
    input: dict[str, Any] = field(default_factory=dict)


EVERYTHING = Shape(
    spec={
        "defaults": {"retry": QUICK},
        "timeout": "10m",
        "nodes": [
            work("first"),
            {
                "id": "route",
                "type": "switch",
                "needs": ["first"],
                "with": {"cases": [{"when": "${input.big}", "to": ["left"]}], "default": ["right"]},
            },
            work("left", "route"),
            work("right", "route"),
            work("joined", "left", "right", join="any"),
            {
                "id": "each",
                "type": "map",
                "needs": ["joined"],
                "with": {
                    "items": "${input.items}",
                    "key": "${item.id}",
                    "concurrency": 2,
                    "do": {"type": "python", "with": {"call": "effect"}, "output": "${item.id}"},
                },
            },
            {"id": "child", "type": "workflow", "needs": ["first"], "with": {"workflow": "child", "input": {"n": 1}}},
            {"id": "pause", "type": "wait", "needs": ["each"], "with": {"duration": "30ms"}},
            {"id": "word", "type": "signal", "needs": ["first"], "with": {"schema": {"type": "string"}}},
            {"id": "late", "type": "signal", "needs": ["first"], "with": {"timeout": "50ms", "default": "nobody"}},
            {"id": "manager", "type": "approval", "needs": ["word"], "with": {"approvers": ["ada"]}},
            {
                "id": "shape",
                "type": "transform",
                "needs": ["manager", "pause", "child", "late"],
                "with": {"word": "${nodes.word.output}", "child": "${nodes.child.output}"},
            },
            {
                "id": "posted",
                "type": "http",
                "needs": ["shape"],
                "with": {"method": "POST", "url": "${input.service}/charge", "body": {"order": "1"}},
                "output": "${result.status}",
            },
            work("last", "posted", join="always"),
        ],
        "output": {"each": "${nodes.each.output.results}", "late": "${nodes.late.output}"},
    },
    status=Status.SUCCESS,
    effects=frozenset({"first", "left", "joined", "each/a", "each/b", "each/c", "last", "posted"}),
    children={"child": {"nodes": [work("inner"), work("outer", "inner")], "output": "${nodes.outer.output}"}},
    signals={"word": "go", "manager": {"approved": True, "approver": "ada"}},
    input={"big": True, "items": [{"id": "a"}, {"id": "b"}, {"id": "c"}]},
)

UNDONE = Shape(
    spec={
        "defaults": {"retry": QUICK},
        "nodes": [
            work("reserve", compensate=UNDO),
            {
                "id": "each",
                "type": "map",
                "needs": ["reserve"],
                "with": {"items": [1, 2], "do": {"type": "python", "with": {"call": "effect"}}},
                "compensate": UNDO,
            },
            {
                "id": "charge",
                "type": "python",
                "needs": ["each"],
                "with": {"call": "broken"},
                "compensate": {**UNDO, "whenFailed": True},
            },
            work("never", "charge"),
            work("cleanup", "charge", join="always"),
        ],
    },
    status=Status.FAILED,
    effects=frozenset(
        {
            "reserve",
            "each/0",
            "each/1",
            "cleanup",
            "charge:compensate",
            "each/0:compensate",
            "each/1:compensate",
            "reserve:compensate",
        }
    ),
)

REFUSED = Shape(
    spec={
        "nodes": [
            work("first"),
            {"id": "no", "type": "fail", "needs": ["first"], "with": {"message": "out of stock", "kind": "OutOfStock"}},
        ]
    },
    status=Status.FAILED,
    effects=frozenset({"first"}),
)

CANCELLED = Shape(
    spec={
        "onCancel": "compensate",
        "concurrency": {"limit": 1},
        "nodes": [
            work("first", compensate=UNDO),
            {"id": "child", "type": "workflow", "needs": ["first"], "with": {"workflow": "patient"}},
            work("never", "child"),
        ],
    },
    status=Status.CANCELLED,
    effects=frozenset({"first", "first:compensate"}),
    children={"patient": {"nodes": [{"id": "forever", "type": "signal"}]}},
    cancel_at="first",
)

SHAPES = {"everything": EVERYTHING, "undone": UNDONE, "refused": REFUSED, "cancelled": CANCELLED}
