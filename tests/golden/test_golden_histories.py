"""Histories that released schemas left, read by this version: they mean for ever what they meant at first.

A file is never changed. When the schema changes, `python -m tests.golden.record` adds a folder for the new one.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator import events as e
from orchestrator.authoring import load_definition
from orchestrator.decide import decide, project
from orchestrator.fold import apply, fold, submitted
from orchestrator.model import Status
from orchestrator.store import codec

FOLDERS = sorted((Path(__file__).parent / "histories").glob("schema-*"))
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.json"))]


def golden(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return told


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def history(told: dict[str, Any]) -> list[e.Recorded]:
    """The stored rows as events, as a store reads them."""
    return [
        e.Recorded(
            row["seq"],
            codec.load_event(
                row["type"],
                row["schema_version"],
                moment(row["created_at"]) or datetime.now(UTC),
                row["node_id"],
                row["node_type"],
                row["attempt"],
                row["data"],
            ),
        )
        for row in told["events"]
    ]


def by_name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_there_is_a_folder_for_every_schema_that_was_ever_written() -> None:
    assert [folder.name for folder in FOLDERS] == [f"schema-{n}" for n in range(1, e.SCHEMA_VERSION + 1)]


def test_every_kind_of_event_stands_in_a_golden_history() -> None:
    written = {row["type"] for path in FILES for row in golden(path)["events"]}
    assert {kind.__name__ for kind in e.ALL} - written == set()


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_a_golden_history_folds_to_the_row_that_stood_beside_it(path: Path) -> None:
    told = golden(path)
    row, workflow = told["execution"], load_definition(told["definition"], told["execution"]["workflow_id"])
    found = project(workflow, fold(row["id"], history(told)))
    assert found.status == row["status"]
    assert (found.current_node, found.done, found.total, found.retries) == (
        row["current_node_id"],
        row["done"],
        row["total"],
        row["retries"],
    )
    assert (found.started_at, found.finished_at) == (moment(row["started_at"]), moment(row["finished_at"]))
    assert found.output == (None if row["output"] is None else json.loads(row["output"]))
    assert codec.dump_failure(found.failure) == (None if row["error"] is None else json.loads(row["error"]))


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_a_workflow_of_a_golden_history_keeps_its_revision(path: Path) -> None:
    told = golden(path)
    assert load_definition(told["definition"], "default/x").revision == told["execution"]["revision"]


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_an_execution_can_go_on_from_any_place_of_a_golden_history(path: Path) -> None:
    """What this version would decide there is a legal continuation, and begins nothing again that is over."""
    told = golden(path)
    workflow = load_definition(told["definition"], told["execution"]["workflow_id"])
    first, *rest = history(told)
    state = submitted(told["execution"]["id"], first.event)
    for recorded in rest:
        state = apply(state, recorded.event)
        if state.status in (Status.PENDING, *(status for status in Status if status.terminal)):
            continue
        decision = decide(workflow, state, (), recorded.event.at)
        assert not [run.key for run in decision.runs if state.step(run.key).status.terminal]


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_the_events_of_the_newest_schema_are_written_as_they_stand(path: Path) -> None:
    told = golden(path)
    if told["events"][0]["schema_version"] != e.SCHEMA_VERSION:
        pytest.skip("an older schema is read, and never written again")
    for row, recorded in zip(told["events"], history(told), strict=True):
        assert json.loads(codec.encode(recorded.event)) == row["data"]
