"""Whatever is done to a log of decisions is found, by its chain or by deriving its verdicts again."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from orchestrator_operator.rollout.log import chain, export
from orchestrator_operator.rollout.log.recorder import read_all
from orchestrator_operator.rollout.log.verify import Published, verify
from orchestrator_operator.specs.rollout_status import DecisionHead

from orchestrator.errors import InvalidInput
from orchestrator.store import DecisionRow
from orchestrator.testing import MemoryStore
from tests.support.rollout_cluster import a_whole_story

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Rows = tuple[DecisionRow, ...]


async def told() -> Rows:
    cluster = await a_whole_story(MemoryStore())
    rows = await read_all(cluster.store, cluster.body()["metadata"]["uid"])
    await cluster.controller.aclose()
    return tuple(rows)


ROWS: Rows = asyncio.run(told())
FIELDS = tuple(field.name for field in fields(DecisionRow))


def end(rows: Sequence[DecisionRow]) -> Published:
    return Published("the status", DecisionHead(number=rows[-1].number, hash=rows[-1].hash))


END = end(ROWS)


def row(action: str) -> DecisionRow:
    return next(row for row in ROWS if row.action == action)


def sealed(rows: Sequence[DecisionRow]) -> Rows:
    """The rows with new numbers and hashes throughout, as somebody with the database in hand could make them."""
    made: list[DecisionRow] = []
    for number, one in enumerate(rows, start=1):
        placed = replace(one, number=number, prev_hash=made[-1].hash if made else "")
        made.append(replace(placed, hash=chain.digest(placed)))
    return tuple(made)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all that is no map and no list."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from leaves(member, (*path, key))
    if not isinstance(value, dict | list):
        yield path


def changed_at(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed_at(value[path[0]], path[1:], new)
    return copy


def with_content(one: DecisionRow, path: tuple[Any, ...], new: Any) -> DecisionRow:
    return replace(one, content=chain.canonical(changed_at(json.loads(one.content), path, new)))


def test_a_log_that_nobody_touched_is_whole_and_every_row_is_derived_again() -> None:
    found = verify(ROWS, [END])
    assert (found.difference, found.rows, found.derived) == ("", len(ROWS), len(ROWS))
    actions = {row.action for row in ROWS}
    assert actions >= {"Start", "Observed", "Extend", "Promote", "Hold", "Resume", "RollBack", "Rearm"}


def test_one_attempt_can_be_derived_alone() -> None:
    attempt = ROWS[-1].attempt
    assert verify(ROWS, [END], attempt).derived == sum(row.attempt == attempt for row in ROWS) < len(ROWS)


@given(place=st.integers(0, len(ROWS) - 1), name=st.sampled_from(FIELDS))
def test_a_row_that_was_changed_is_found(place: int, name: str) -> None:
    one = ROWS[place]
    value = getattr(one, name)
    match value:
        case int():
            new: Any = value + 1
        case str() if name == "content":
            new = chain.canonical({**json.loads(value), "version": "another"})
        case str():
            new = value + "x"
        case _:
            new = value.replace(microsecond=value.microsecond ^ 1)
    found = verify((*ROWS[:place], replace(one, **{name: new}), *ROWS[place + 1 :]), [END])
    assert found.difference.startswith("row ")


@given(data=st.data(), place=st.integers(0, len(ROWS) - 1))
def test_any_value_of_a_content_is_under_the_hash(data: st.DataObject, place: int) -> None:
    one = ROWS[place]
    path = data.draw(st.sampled_from(list(leaves(json.loads(one.content)))))
    changed = with_content(one, path, "forged")
    assume(changed != one)
    assert f"row {place + 1} was changed" in verify((*ROWS[:place], changed, *ROWS[place + 1 :])).difference


@given(place=st.integers(0, len(ROWS) - 1))
def test_a_row_that_was_removed_is_found(place: int) -> None:
    assert verify((*ROWS[:place], *ROWS[place + 1 :]), [END]).difference


@given(length=st.integers(0, len(ROWS) - 1))
def test_an_end_that_was_cut_off_is_found(length: int) -> None:
    assert "was cut off" in verify(ROWS[:length], [END]).difference


@given(place=st.integers(0, len(ROWS)), source=st.integers(0, len(ROWS) - 1), fitted=st.booleans())
def test_a_row_that_was_inserted_is_found(place: int, source: int, fitted: bool) -> None:
    extra = ROWS[source]
    if fitted and place:  # as well as one can, without touching the others
        extra = replace(extra, number=place + 1, prev_hash=ROWS[place - 1].hash)
        extra = replace(extra, hash=chain.digest(extra))
    assume(place < len(ROWS) or not fitted)  # at the end it is the log's next row
    assert verify((*ROWS[:place], extra, *ROWS[place:]), [END]).difference


@given(order=st.permutations(range(len(ROWS))))
@settings(max_examples=30)
def test_rows_in_another_order_are_found(order: list[int]) -> None:
    assume(order != sorted(order))
    assert verify([ROWS[place] for place in order], [END]).difference


def test_rows_that_were_all_hashed_anew_do_not_end_as_published() -> None:
    forged = sealed([replace(one, message=one.message.replace("worse", "better")) for one in ROWS])
    assert "the status names row" in verify(forged, [END]).difference


@pytest.mark.parametrize(
    ("action", "path", "new", "word"),
    [
        ("RollBack", ("judgement", "criteria", 0, "verdict"), "Pass", "the judgement, criteria[0], verdict"),
        ("RollBack", ("judgement", "criteria", 0, "log_evidence"), 0.5, "log_evidence"),
        ("RollBack", ("planned", "status", "phase"), "Progressing", "the plan, status, phase"),
        ("Promote", ("planned", "status", "percent"), "100", "the plan, status, percent"),
        ("Promote", ("planned", "actions"), [], "the plan, actions"),
        ("Promote", ("inputs", "cohorts", 1, 1, 0, "bad_v2"), 70_000, "the judgement"),
        ("Promote", ("inputs", "spec"), {"$as": 99}, "cannot be read"),
        ("Promote", ("inputs", "cohorts"), "none", "cannot be read"),
        ("Promote", ("inputs", "now"), "2026-01-01T00:30:00Z", "the plan"),
    ],
)
def test_a_forged_log_is_found_by_deriving_it_again(action: str, path: tuple[Any, ...], new: Any, word: str) -> None:
    """Even where every hash was made anew, and no published end is at hand."""
    forged = row(action)
    log = sealed([with_content(one, path, new) if one is forged else one for one in ROWS])
    found = verify(log)
    assert found.difference.startswith(f"row {forged.number}: ")
    assert word in found.difference


@pytest.mark.parametrize("name", ["action", "reason", "message", "actor"])
def test_a_decision_in_other_words_than_its_inputs_lead_to_is_found(name: str) -> None:
    forged = row("RollBack")
    log = sealed([replace(one, **{name: "Abort"}) if one is forged else one for one in ROWS])
    assert verify(log).difference.startswith(f"row {forged.number}: it records ")


def test_numbers_may_differ_in_the_digits_that_another_machine_rounds_otherwise() -> None:
    one = row("RollBack")
    path = ("judgement", "criteria", 0, "log_evidence")
    exact = json.loads(one.content)["judgement"]["criteria"][0]["log_evidence"]
    log = sealed([with_content(each, path, exact * (1 + 1e-12)) if each is one else each for each in ROWS])
    assert verify(log).difference == ""


def by_an_earlier_judge(one: DecisionRow, log_e: float) -> DecisionRow:
    """A row as judge 1 wrote it, which put no number in it, where it came to another figure."""
    path = ("judgement", "criteria", 0, "log_evidence")
    body = changed_at(json.loads(one.content), path, log_e)
    return replace(one, content=chain.canonical({key: value for key, value in body.items() if key != "judge"}))


def test_a_row_of_an_earlier_judge_is_named_with_what_this_one_comes_to_and_is_no_forgery() -> None:
    one = row("RollBack")
    log = sealed([by_an_earlier_judge(one, 99.5) if each is one else each for each in ROWS])
    found = verify(log)
    assert (found.difference, found.derived) == ("", len(ROWS) - 1)
    (other,) = found.otherwise
    assert (other.number, other.judge) == (one.number, 1)
    assert "log_evidence: recorded is 99.5, derived again is " in other.difference


def test_a_row_of_an_earlier_judge_to_which_this_one_comes_as_well_is_derived() -> None:
    one = row("Start")
    log = sealed([with_content(one, ("judge",), 1) if each is one else each for each in ROWS])
    assert (verify(log).derived, verify(log).otherwise) == (len(ROWS), ())


def test_what_an_earlier_version_did_not_know_of_a_status_is_no_difference() -> None:
    def earlier(one: DecisionRow) -> DecisionRow:
        body = json.loads(one.content)
        if "planned" in body:
            for name in ("awaitsFor", "approvedFor"):
                del body["planned"]["status"][name]
            body["judge"] = 2
        return replace(one, content=chain.canonical(body))

    found = verify(sealed([earlier(one) for one in ROWS]))
    assert (found.derived, found.otherwise, found.difference) == (len(ROWS), (), "")


def test_the_hash_covers_the_number_of_the_judge() -> None:
    one = row("RollBack")
    log = [with_content(one, ("judge",), 1) if each is one else each for each in ROWS]
    assert f"row {one.number} was changed" in verify(log).difference


def test_a_row_without_inputs_is_named_and_no_difference() -> None:
    late = chain.Draft("r", "shop/v2", "r-1", ROWS[0].at, "RollBack", "Aborted", "", "controller", {"inputs": None})
    found = verify([chain.seal(late, chain.NOWHERE, {"late": True})])
    assert (found.difference, found.without_inputs) == ("", (1,))


def test_a_row_that_says_that_rows_were_lost_before_it_is_a_difference() -> None:
    late = chain.Draft("r", "shop/v2", "r-1", ROWS[0].at, "Hold", "Blind", "", "controller", {"inputs": None})
    row_ = chain.seal(late, chain.NOWHERE, {"lost": {"number": 9, "hash": "h9"}})
    assert "rows up to 9" in verify([row_]).difference


# -- as a file


def test_an_export_reads_back_to_the_same_rows() -> None:
    rows, head = export.read(export.lines(ROWS), "x.jsonl")
    assert (tuple(rows), head) == (ROWS, END.head)
    assert verify(rows, [END]).difference == ""


def test_the_program_in_the_docs_checks_an_export(tmp_path: Path) -> None:
    """Nothing but the standard library: it stands beside our own code, and finds the same."""
    page = (Path(__file__).resolve().parents[3] / "docs/rollout-log.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    lines = list(export.lines(ROWS))
    for name, kept in (("whole", lines), ("cut", [*lines[:-2], lines[-1]]), ("changed", _with_other_words(lines))):
        path = tmp_path / name
        path.write_text("\n".join(kept), encoding="utf-8")
        done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
        assert (done.returncode, f"{len(ROWS)} rows" in done.stdout) == ((0, True) if name == "whole" else (1, False))


def _with_other_words(lines: list[str]) -> list[str]:
    changed = lines[3].replace("StageRunning", "Aborted")
    assert changed != lines[3]
    return [*lines[:3], changed, *lines[4:]]


def test_an_export_of_nothing_still_says_where_it_ends() -> None:
    assert export.read(export.lines(()), "x.jsonl") == ([], chain.NOWHERE)


def test_an_export_that_was_cut_off_or_added_to_has_no_end() -> None:
    lines = list(export.lines(ROWS))
    assert export.read(lines[:-1], "x.jsonl")[1] is None
    assert export.read([*lines, lines[-2]], "x.jsonl")[1] is None


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"number": 1}', '{"head": 1}'])
def test_a_line_of_something_else_is_refused_with_its_place(line: str) -> None:
    with pytest.raises(InvalidInput, match=r"x\.jsonl:2"):
        export.read([*list(export.lines(ROWS))[:1], line], "x.jsonl")
