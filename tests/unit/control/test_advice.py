"""Each rule tells what it is there for, and nothing of a workflow that is as it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.advice import RULES, advise
from orchestrator.authoring import compile_workflow
from tests.support.situations import node, undo

CALL = {"url": "http://service/", "method": "POST"}
CHILD = {"type": "workflow", "with": {"workflow": "other"}}
TWO = [node("a"), node("b")]
READS = {"url": "http://service/", "body": "${nodes.a.output.body}"}
ASKS = {"url": "http://service/", "body": "${nodes.a.output == null ? 'none' : nodes.a.output.body}"}
BOX = {"image": "shop/box:1"}


def found(spec: dict[str, Any], others: dict[str, dict[str, Any]] | None = None) -> list[tuple[str, str]]:
    known = {name: compile_workflow(s, namespace="default", name=name) for name, s in (others or {}).items()}
    flow = compile_workflow(spec, namespace="default", name="flow")
    told = advise(flow, spec, {each.id: each for each in known.values()})
    return [(advice.rule, advice.problem.path) for advice in told]


def http(**with_: Any) -> dict[str, Any]:
    return {"nodes": [node("a", with_={"url": "http://service/", **with_})]}


BAD: list[tuple[str, str, dict[str, Any]]] = [
    ("endless-wait", "spec.nodes[0].with", {"nodes": [node("go", type_="signal")]}),
    ("endless-wait", "spec.nodes[0].with", {"nodes": [node("ok", type_="approval")]}),
    ("plain-secret", "spec.nodes[0].with.headers.Authorization", http(headers={"Authorization": "Bearer abc"})),
    ("plain-secret", 'spec.nodes[0].with.headers["X-Api-Key"]', http(headers={"X-Api-Key": "${input.key}"})),
    ("plain-secret", "spec.nodes[0].with.body.login[0].password", http(body={"login": [{"password": "abc"}]})),
    ("plain-secret", "spec.nodes[0].with.query.apiKey", http(query={"apiKey": "abc"})),
    ("late-timeout", "spec.nodes[0].timeout", {"timeout": "1m", "nodes": [node("a", timeout="2m")]}),
    (
        "late-timeout",
        "spec.nodes[0].with.duration",
        {"timeout": "1h", "nodes": [node("a", type_="wait", with_={"duration": "1h"})]},
    ),
    ("no-time-to-pull", "spec.nodes[0].timeout", {"nodes": [node("a", type_="container", with_=BOX)]}),
    (
        "no-time-to-pull",
        "spec.nodes[0].timeout",
        {
            "nodes": [
                node("a", type_="map", with_={"items": "${[1]}", "do": {"type": "container", "with": BOX}}),
            ]
        },
    ),
    (
        "no-time-to-pull",
        "spec.nodes[0].compensate.timeout",
        {"nodes": [node("a", compensate={"type": "container", "with": BOX})]},
    ),
    (
        "no-effect",
        "spec.nodes[0].retry",
        {"nodes": [node("a", type_="wait", with_={"duration": "1s"}, retry={"maxAttempts": 2})]},
    ),
    ("no-effect", "spec.onCancel", {"onCancel": "compensate", "nodes": [node("a")]}),
    (
        "half-a-saga",
        "spec.nodes[1].compensate",
        {"nodes": [node("a", with_=CALL, compensate=undo()), node("b", "a", with_=CALL), node("c", "b", with_=CALL)]},
    ),
    ("may-be-null", "spec.nodes[2].with.body", {"nodes": [*TWO, node("c", "a", "b", join="any", with_=READS)]}),
    ("may-be-null", "spec.nodes[2].with.body", {"nodes": [*TWO, node("c", "a", "b", join="always", with_=READS)]}),
]
GOOD: list[dict[str, Any]] = [
    {"nodes": [node("go", type_="signal", with_={"timeout": "1d"})]},
    {"timeout": "7d", "nodes": [node("go", type_="signal")]},
    http(auth={"bearer": {"secret": "shop", "key": "token"}}),
    http(headers={"Accept": "text/plain"}, body={"passwordHint": "none", "user": "ada"}),
    http(body={"password": ""}),
    {"timeout": "1m", "nodes": [node("a", timeout="30s")]},
    {"timeout": "10s", "nodes": [node("a")]},  # 30s is the default, and nobody's word
    {"nodes": [node("a", type_="container", with_=BOX, timeout="2h")]},
    {"defaults": {"timeout": "5m"}, "nodes": [node("a", type_="container", with_=BOX)]},
    {"nodes": [node("a", compensate={"type": "container", "with": BOX, "timeout": "2h"})]},
    {"nodes": [node("a", retry={"maxAttempts": 2}, timeout="1m")]},
    {"onCancel": "compensate", "nodes": [node("a", compensate=undo())]},
    {"nodes": [node("a", with_=CALL), node("b", "a", with_=CALL)]},
    {"nodes": [node("a", with_=CALL, compensate=undo()), node("b", "a")]},
    {"nodes": [*TWO, node("c", "a", "b", join="any", with_=ASKS)]},
    {"nodes": [*TWO, node("c", "a", "b", with_=READS)]},
]


@pytest.mark.parametrize(("rule", "path", "spec"), BAD, ids=[f"{rule} {path}" for rule, path, _ in BAD])
def test_it_is_told_with_its_place(rule: str, path: str, spec: dict[str, Any]) -> None:
    assert found(spec) == [(rule, path)]


@pytest.mark.parametrize("spec", GOOD)
def test_nothing_is_told_of_what_is_as_it_should_be(spec: dict[str, Any]) -> None:
    assert found(spec) == []


def mapped(at_once: int) -> dict[str, Any]:
    return {"nodes": [node("each", type_="map", with_={"items": [], "concurrency": at_once, "do": CHILD})]}


@pytest.mark.parametrize(("at_once", "rules"), [(5, ["children-over-limit"]), (2, [])])
def test_more_children_at_once_than_their_workflow_allows_are_told(at_once: int, rules: list[str]) -> None:
    other = {"other": {"concurrency": {"limit": 2}, "nodes": [node("a")]}}
    assert [rule for rule, _ in found(mapped(at_once), other)] == rules


def test_a_workflow_that_waits_for_itself_under_a_limit_is_told() -> None:
    itself = node("again", type_="workflow", with_={"workflow": "flow"})
    assert found({"nodes": [itself]}) == []
    assert found({"concurrency": {"limit": 3}, "nodes": [itself]}) == [("own-limit", "spec.nodes[0].with.workflow")]


def test_every_rule_is_tried_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in RULES if f'"{name}"' not in text] == []
