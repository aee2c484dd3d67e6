"""How an Execution resource is told: lines, reasons, JSON, exit codes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.cli.verbs import standing
from orchestrator_operator.cli.verbs.standing import Standing

AT = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
NODES = standing.nodes_of(
    {
        "spec": {
            "nodes": [
                {"id": "manager", "type": "approval"},
                {"id": "parcel", "type": "signal", "with": {"name": "shipped"}},
                {"id": "nap", "type": "wait", "with": {"duration": "2h"}},
                {"id": "until", "type": "wait", "with": {"until": "2027-01-01T00:00:00Z"}},
                {"id": "child", "type": "workflow", "with": {"workflow": "twice"}},
            ]
        }
    }
)


def body(phase: str | None = None, accepted: str | None = "True", **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Accepted", "status": accepted}] if accepted else []
    said = {"conditions": conditions, **({"phase": phase} if phase else {}), **status}
    meta = {"name": "one", "namespace": "shop", "uid": "u"}
    return {"metadata": meta, "spec": {"workflow": "flow"}, "status": said}


def stands(*arguments: Any, **status: Any) -> Standing:
    return Standing.of(body(*arguments, **status))


KEYS = st.sampled_from(["phase", "conditions", "type", "status", "retries"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=8,
)


@given(JSON)
def test_whatever_stands_in_a_status_it_is_told_without_an_error(status: Any) -> None:
    now = Standing.of({"metadata": {"name": "one"}, "status": status})
    assert standing.line(None, now, NODES, AT)


def test_nothing_is_told_while_a_reader_sees_no_change() -> None:
    assert standing.change(stands("Running", startedAt="a"), stands("Running", startedAt="b"), NODES) is None


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        (None, body(accepted=None), "12:00:30 Created"),
        (body("Pending"), body("Running", engine="v2", progress="0/3"), "12:00:30 Running      on v2, 0/3"),
        (
            body("Running", engine="v2"),
            body("Running", engine="v2", currentNode="pay", progress="1/3", retries=1),
            "12:00:30 Running      at pay, 1/3, 1 retry",
        ),
        (
            None,
            body("Failed", progress="1/3", duration="2.0s", message="node pay: 503", reason="HttpStatus"),
            "12:00:30 Failed       1/3, after 2.0s: node pay: 503",
        ),
    ],
)
def test_a_change_is_one_line(before: dict[str, Any] | None, now: dict[str, Any], says: str) -> None:
    first = None if before is None else Standing.of(before)
    assert standing.line(first, Standing.of(now), NODES, AT) == says


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ("manager", "for an approval; `kubectl orchestrator approve one manager`"),
        ("parcel", "for the signal shipped; `kubectl orchestrator signal one shipped --payload …`"),
        ("nap", "for 2h to pass"),
        ("until", "until 2027-01-01T00:00:00Z"),
        ("child", "for an execution of twice"),
        ("unknown", ""),
    ],
)
def test_one_that_waits_says_for_what_and_what_can_be_done(node: str, says: str) -> None:
    assert standing.why(stands("Waiting", currentNode=node), NODES) == says


def test_one_that_is_suspended_says_how_it_goes_on() -> None:
    assert "kubectl orchestrator resume one" in standing.why(stands("Suspended", reason="Restored"), NODES)


@pytest.mark.parametrize(
    ("now", "rests", "code"),
    [
        (stands("Running"), False, 1),
        (stands("Waiting"), False, 1),
        (stands("Suspended"), False, 1),
        (stands("Pending", "False"), True, 1),
        (stands("Unknown"), True, 1),
        (stands("Failed"), True, 1),
        (stands("Cancelled"), True, 1),
        (stands("Success"), True, 0),
    ],
)
def test_it_is_followed_until_nothing_more_comes_by_itself(now: Standing, rests: bool, code: int) -> None:
    assert (now.rests, standing.exit_code(now)) == (rests, code)


def test_json_has_the_keys_of_run_and_the_resources_own() -> None:
    found = standing.described(body("Failed", engine="v2", message="node pay: 503", reason="HttpStatus"))
    assert {"id", "workflow", "engine", "status", "output", "error"} <= found.keys()
    assert (found["status"], found["name"], found["namespace"]) == ("failed", "one", "shop")
    assert found["error"] == {"kind": "HttpStatus", "message": "node pay: 503"}
