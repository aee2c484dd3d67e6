"""`orchestrator rollout verify` and the export that it reads: what people see, and the exit code."""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
import sqlite3
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.adapters.kubernetes import Kubernetes, Refused
from orchestrator_operator.cli import rollout_log
from orchestrator_operator.rollout.judging.judge import JUDGE, judge
from orchestrator_operator.rollout.log import verify as log_verify
from orchestrator_operator.specs import ROLLOUTS

from orchestrator.store import open_store
from tests.support.cluster import NAMESPACE
from tests.support.rollout_cluster import Cluster, a_whole_story

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Answer, Shell


class Site:
    """A cluster with a rollout that was rolled back, its store, and a command line that reaches both."""

    def __init__(self, shell: Shell, cluster: Cluster) -> None:
        self.shell, self.cluster = shell, cluster

    def verify(self, *more: str) -> Answer:
        return self.shell("rollout", "verify", "v2", "-n", NAMESPACE, "-d", self.shell.database, *more)

    def export(self) -> Path:
        answer = self.shell("rollout", "history", "v2", "-n", NAMESPACE, "-d", self.shell.database, "-o", "jsonl")
        assert answer.code == 0, answer.err
        return self.shell.write("decisions.jsonl", answer.out)

    def sql(self, statement: str) -> None:
        with sqlite3.connect(self.shell.database) as connection:
            connection.execute(statement)
        connection.close()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cluster]:
    """The story, and the database that it left."""
    path = tmp_path_factory.mktemp("told") / "orchestrator.db"

    async def tell() -> Cluster:
        store = await open_store(str(path))
        cluster = await a_whole_story(store)
        await cluster.controller.aclose()
        await store.close()
        return cluster

    return path, asyncio.run(tell())


@pytest.fixture
def site(shell: Shell, monkeypatch: pytest.MonkeyPatch, told: tuple[Path, Cluster]) -> Site:
    path, cluster = told
    shutil.copyfile(path, shell.database)
    monkeypatch.setattr(cluster, "kubernetes", copy.copy(cluster.kubernetes))
    monkeypatch.setattr(cluster.kubernetes, "objects", copy.deepcopy(cluster.kubernetes.objects))

    async def nothing() -> None: ...

    async def connect(*_: Any, **__: Any) -> Any:
        cluster.kubernetes.aclose = nothing
        return cluster.kubernetes

    monkeypatch.setattr(Kubernetes, "connect", connect)
    return Site(shell, cluster)


def test_a_log_that_is_whole_is_said_to_be(site: Site) -> None:
    answer = site.verify()
    assert (answer.code, answer.err) == (0, "")
    rows = site.cluster.status()["decisionHead"]["number"]
    assert answer.out.startswith(f"v2: {rows} rows, each as it was written\n{rows} of them derived again")
    assert "the status, the Event v2." in answer.out


def test_programs_read_it_as_json(site: Site) -> None:
    found = site.verify("--output", "json").json()
    assert (found["difference"], found["rows"]) == (None, found["derivedAgain"])
    assert found["comparedWith"][0] == "the status"


def test_a_row_that_was_changed_in_the_database_is_told_in_one_sentence(site: Site) -> None:
    site.sql("UPDATE rollout_decisions SET reason = 'Aborted' WHERE action = 'RollBack'")
    answer = site.verify()
    assert (answer.code, answer.out.count("\n")) == (1, 1)
    assert "was changed after it was written" in answer.out
    assert site.verify("-o", "json").json()["difference"] in answer.out


def test_rows_of_another_judge_are_told_with_the_software_that_derives_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_verify, "JUDGE", JUDGE + 1)
    monkeypatch.setattr(log_verify, "judge", lambda gathered: replace(judge(gathered), criteria=()))
    answer = site.verify()
    assert answer.code == 0
    assert "were decided by another judge" in answer.out
    assert f"(judge {JUDGE})" in answer.out
    assert site.verify("-o", "json").json()["byAnotherJudge"][0]["judge"] == JUDGE


def test_an_end_that_was_cut_off_in_the_database_is_told(site: Site) -> None:
    site.sql("DELETE FROM rollout_decisions WHERE number > 8")
    answer = site.verify()
    assert (answer.code, "its end was cut off" in answer.out) == (1, True)


def test_one_attempt_alone_is_derived(site: Site) -> None:
    found = site.verify("--attempt", "2", "-o", "json").json()
    assert 0 < found["derivedAgain"] < found["rows"]
    refused = site.verify("--attempt", "9")
    assert (refused.code, "--attempt" in refused.err) == (2, True)


def test_an_export_is_checked_without_a_cluster_and_without_a_store(site: Site) -> None:
    path = site.export()
    site.sql("DELETE FROM rollout_decisions")
    answer = site.shell("rollout", "verify", "v2", "--file", path)
    assert (answer.code, "the last line of" in answer.out) == (0, True)


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        (lambda lines: [*lines[:3], *lines[4:]], 1, "row 4 is missing"),
        (lambda lines: lines[:-1], 2, "cut off"),
        (lambda lines: ["nonsense", *lines], 2, "decisions.jsonl:1"),
        (lambda lines: [line.replace('"Fail"', '"Pass"') for line in lines], 1, "was changed"),
    ],
)
def test_an_export_that_somebody_touched_is_told(site: Site, change: Any, code: int, word: str) -> None:
    path = site.export()
    path.write_text("\n".join(change(path.read_text().splitlines())))
    answer = site.shell("rollout", "verify", "v2", "--file", path)
    assert (answer.code, word in answer.out + answer.err) == (code, True)


def test_the_log_of_another_rollout_is_refused(site: Site) -> None:
    answer = site.shell("rollout", "verify", "other", "--file", site.export())
    assert (answer.code, "is the log of shop/v2" in answer.err) == (2, True)


def test_a_file_that_is_not_there_is_refused(site: Site) -> None:
    answer = site.shell("rollout", "verify", "v2", "--file", "nowhere.jsonl")
    assert (answer.code, "cannot read nowhere.jsonl" in answer.err) == (2, True)


def test_the_log_of_a_resource_that_is_gone_is_found_by_its_uid(site: Site) -> None:
    uid = site.cluster.body()["metadata"]["uid"]
    asyncio.run(site.cluster.kubernetes.delete(ROLLOUTS, NAMESPACE, "v2"))
    gone = site.verify()
    assert (gone.code, "--uid" in gone.err) == (1, True)
    answer = site.verify("--uid", uid)
    assert (answer.code, "nothing outside of the store" in answer.out) == (0, True)


def test_who_may_not_list_events_checks_the_rest(site: Site) -> None:
    async def refuse(*_: Any) -> Any:
        raise Refused("events is forbidden", status=403)

    site.cluster.kubernetes.events_about = refuse
    assert site.verify("-o", "json").json()["comparedWith"] == ["the status"]


def test_the_store_is_waited_for_as_long_as_the_settings_say(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, patiences = rollout_log.open_store, []

    async def spy(database: str, **options: Any) -> Any:
        patiences.append(options["patience"])
        return await opened(database, **options)

    monkeypatch.setattr(rollout_log, "open_store", spy)
    monkeypatch.setenv("ORCHESTRATOR_PATIENCE", "2s")
    assert site.verify().code == 0
    assert patiences == [timedelta(seconds=2)]


def test_the_history_out_of_the_status_bears_the_rows_numbers(site: Site) -> None:
    answer = site.shell("rollout", "history", "v2", "-n", NAMESPACE, "-o", "json")
    assert [decision["number"] for decision in json.loads(answer.out)][:2] == [1, 2]
