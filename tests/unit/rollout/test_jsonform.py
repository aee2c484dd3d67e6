"""What was gathered is recorded whole, and reads back as exactly what it was."""

from __future__ import annotations

import json
import math
from dataclasses import is_dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.rollout.judging.judge import judge
from orchestrator_operator.rollout.log import chain, jsonform
from orchestrator_operator.rollout.model import Action, Bin, Gathered, Health, Judgement, Power, Restart, Unreadable
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout_status import Decision, Phase

from orchestrator.errors import Problem
from orchestrator.flag import FlagSnapshot, FlagValues
from tests.support.rollouts import World, cells

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_457, tzinfo=UTC)

moments = st.integers(0, 10**15).map(lambda n: NOW + timedelta(microseconds=n))
texts = st.text(max_size=8)
counts = st.integers(0, 2**53)
numbers = st.floats(allow_nan=False)
spans = st.timedeltas(timedelta(0), timedelta(days=400))
percents = st.decimals(0, 100, places=2)
unreadable = st.builds(Unreadable, texts, texts)
some_cells = st.lists(st.builds(Cell, percents, counts, counts, counts, counts), max_size=3).map(tuple)
keys = st.tuples(texts, spans)
gathered = st.builds(
    Gathered,
    now=moments,
    name=texts,
    uid=texts,
    generation=counts,
    spec=st.just(World().spec) | st.none(),
    status=st.builds(World().status.__class__, phase=st.sampled_from(Phase), stage_started_at=moments),
    flag=st.builds(FlagSnapshot, st.builds(FlagValues, texts | st.none()), texts, st.dictionaries(texts, texts))
    | unreadable,
    problems=st.lists(st.builds(Problem, texts, texts), max_size=2).map(tuple),
    annotations=st.dictionaries(texts, texts, max_size=2),
    deleting=st.booleans(),
    rival=texts | st.none(),
    cohorts=st.dictionaries(keys, some_cells | unreadable, max_size=2),
    restarts=st.lists(
        st.builds(Restart, counts, moments, st.dictionaries(keys, some_cells, max_size=2)), max_size=2
    ).map(tuple),
    guardrails=st.dictionaries(texts, numbers | unreadable, max_size=2),
    in_flight=counts | st.none(),
    starts=some_cells | unreadable,
    keyed=counts | st.none(),
    calibration=some_cells | unreadable,
    own=st.dictionaries(
        texts, st.lists(st.builds(Bin, *[numbers] * 4), max_size=3).map(tuple) | unreadable, max_size=2
    ),
    health=st.lists(st.builds(Health, texts, counts, counts, counts, counts), max_size=2).map(tuple) | unreadable,
    queries=st.lists(texts, max_size=2).map(tuple),
    late_starts=counts | st.none(),
)


@given(gathered)
def test_whatever_was_gathered_reads_back_the_same(found: Gathered) -> None:
    text = chain.canonical(jsonform.dump(found))
    assert jsonform.load(json.loads(text), Gathered) == found


def test_whatever_is_recorded_is_declared_with_types_that_are_known() -> None:
    """Down to the last field. A name that cannot be resolved raises NameError: then jsonform.py has to learn it."""
    pending, seen = [Gathered, Judgement, *get_args(Action)], set()
    while pending:
        kind = pending.pop()
        if kind in seen or kind is Ellipsis:
            continue
        seen.add(kind)
        declared = [hint for _, hint, _ in jsonform.declarations(kind)] if is_dataclass(kind) else []
        pending += [*declared, *get_args(kind)]
    assert {Cell, Restart, Bin, Health, Unreadable, Power} <= seen


@pytest.mark.parametrize("number", [0.1, 1e-300, -0.0, 5e-324, 1.7976931348623157e308, 2.0**53 + 2, 1 / 3])
def test_a_number_keeps_every_digit(number: float) -> None:
    read = jsonform.load(json.loads(chain.canonical(jsonform.dump(number))), float)
    assert (read, math.copysign(1, read)) == (number, math.copysign(1, number))


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_of_json_is_text(number: float) -> None:
    raw = jsonform.dump(Power(number, "nothing can be shown"))
    read = jsonform.load(json.loads(chain.canonical(raw)), Power)
    assert read.smallest == number or math.isnan(read.smallest)


def test_what_is_as_it_was_declared_takes_no_room() -> None:
    assert jsonform.dump(Judgement()) == {}


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Cell, {"percent": "5", "colour": "red"}),
        (Cell, []),
        (Gathered, {}),
        (int, "7"),
        (Decimal, "x"),
        (tuple[str, timedelta], ["a"]),
    ],
)
def test_what_is_something_else_is_refused(kind: Any, raw: Any) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, ArithmeticError, AttributeError)):
        jsonform.load(raw, kind)


def test_a_judgement_names_its_criteria_and_the_spec_stands_in_the_inputs() -> None:
    world = World().running()
    world.cohorts = {key: cells("5", (60, 5940), (2, 398)) for key in world.cohorts}
    planned = world.decide()
    content = chain.content(world.gathered(), judge(world.gathered()), planned, "1")
    assert [item["criterion"] for item in content["judgement"]["criteria"]] == ["failures", "first-attempts"]
    assert content["inputs"]["spec"]["criteria"][0]["name"] == "failures"


def test_what_the_status_told_before_is_not_told_in_every_row() -> None:
    world = World()
    told = Decision(at=NOW, action="Hold", reason="Blind", message="")
    world.status = world.status.model_copy(update={"decisions": (told,)})
    planned = world.decide()
    content = chain.content(replace(world.gathered(), queries=("up",)), Judgement(), planned, "1")
    assert "decisions" not in content["inputs"]["status"]
    assert content["queries"] == ["up"]
