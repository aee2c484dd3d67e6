"""`orchestrator report` as it is typed."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from orchestrator.reports import REPORTS
from tests.support import monitored

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Shell

ID = "0b7c1d2e-3f40-5162-7384-95a6b7c8d9e0"
OTHER = "1c7c1d2e-3f40-5162-7384-95a6b7c8d9e0"


@pytest.fixture
def filled(shell: Shell) -> Shell:
    asyncio.run(monitored.fill(str(shell.database)))
    return shell


def test_without_a_name_every_report_is_shown(filled: Shell) -> None:
    answer = filled("report")
    assert answer.code == 0, answer.err
    titles = [report.titled(report.window) for report in REPORTS.values()]
    assert [title for title in titles if title in answer.out.splitlines()] == titles


def test_json_has_every_report_by_its_name(filled: Shell) -> None:
    answer = filled("report", "--output", "json").json()
    assert list(answer["reports"]) == list(REPORTS)
    assert answer["reports"]["success"]["rows"][0] == {
        "status": "failed", "executions": 1, "share_percent": 33.33, "v1": 0, "v2": 1
    }  # fmt: skip
    assert answer["reports"]["stuck"]["since"] is None


def test_one_report_is_shown_alone(filled: Shell) -> None:
    assert list(filled("report", "errors", "-o", "json").json()["reports"]) == ["errors"]


def test_eighty_columns_hold_every_value_whole(filled: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    long = {"workflow_id": "shop/fulfilment-of-orders-from-the-warehouse", "current_node_id": "chargeTheCreditCard"}
    with sqlite3.connect(filled.database) as database:
        for id_, told in ((ID, "slow"), (OTHER, "ok")):
            database.execute("UPDATE workflow_events SET execution_id = ? WHERE execution_id = ?", (id_, told))
        database.execute("UPDATE workflow_executions SET id = ? WHERE id = 'slow'", (ID,))
        for column, value in long.items():
            database.execute(f"UPDATE workflow_executions SET {column} = ? WHERE id = ?", (value, ID))
    monkeypatch.setenv("COLUMNS", "80")
    answer = filled("report")
    assert max(len(line.rstrip()) for line in answer.out.splitlines()) <= 80
    stuck = answer.out.partition("running for more than")[2].partition("ERROR lines")[0]
    slow = answer.out.partition("took more than")[2].partition("running for more than")[0]
    assert [value for value in (ID, *long.values(), "ENGINE v2", "STEPS 1") if value not in stuck] == []
    assert [value for value in (OTHER, "NODE a", "TYPE transform", "TOOK ms 150.50") if value not in slow] == []


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_column_is_dropped_at_any_width(filled: Shell, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = " ".join(filled("report").out.split())
    headings = [column.heading for report in REPORTS.values() for column in report.columns[1:]]
    assert [heading for heading in headings if heading not in text] == []


def test_an_empty_answer_says_so_in_a_sentence_and_is_no_failure(shell: Shell) -> None:
    asyncio.run(_make(shell))
    answer = shell("report", "--since", "2h")
    assert answer.code == 0
    sentences = [report.nothing(report.since(timedelta(hours=2))) for report in REPORTS.values()]
    assert [sentence for sentence in sentences if sentence not in answer.out] == []


async def _make(shell: Shell) -> None:
    from orchestrator.store import open_store

    await (await open_store(str(shell.database))).close()


def test_the_sql_that_is_printed_runs_as_one_script(filled: Shell) -> None:
    script = filled("report", "--sql").out
    with sqlite3.connect(filled.database) as database:
        database.executescript(script)
    assert script.count(";") == len(REPORTS)


def test_sql_is_printed_without_a_database(shell: Shell) -> None:
    answer = shell("report", "success", "--since", "2h", "--sql", "--dialect", "postgresql")
    assert (answer.code, "interval '2 hours'" in answer.out, shell.database.exists()) == (0, True, False)


def test_sql_is_in_the_words_of_the_database_that_is_named(shell: Shell) -> None:
    assert "interval" in shell("report", "success", "--sql", "-d", "postgresql://localhost/shop").out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--since", "yesterday"], "--since: 'yesterday' is not a duration"),
        (["--watch", "10ms"], "--watch: 10ms is shorter than a second"),
        (["--dialect", "sqlite"], "--dialect: "),
        (["--database", "no.db"], "--database: there is no database no.db"),
    ],
)
def test_bad_input_names_its_option(shell: Shell, options: list[str], named: str) -> None:
    answer = shell("report", *options)
    assert (answer.code, named in answer.err) == (2, True), answer.err


def test_a_database_that_does_not_answer_is_exit_code_1(shell: Shell) -> None:
    answer = shell("report", "-d", "postgresql://localhost:1/shop")
    assert (answer.code, answer.out) == (1, "")
    assert "cannot read postgresql" in answer.err


def test_a_watch_asks_again_until_it_is_interrupted_and_ends_in_peace(filled: Shell) -> None:
    with filled.process("report", "success", "--watch", "1s") as watch:
        assert watch.stdout is not None
        seen = 0
        for line in watch.stdout:
            seen += line.startswith("asked at")
            if seen == 2:
                break
        watch.send_signal(signal.SIGINT)
        _, err = watch.communicate(timeout=30)
    assert (watch.returncode, err) == (0, "")
