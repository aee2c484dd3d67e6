"""Commands that steer executions: of one, of many that fit, by signals, and by beginning again."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import forks
from orchestrator.cli.executions import bulk
from orchestrator.model import Assignment, Engine
from orchestrator.store import Submission, V1Update
from tests.support.situations import node
from tests.support.stores import projection, workflow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.store import ExecutionRecord, Store
    from tests.unit.cli.conftest import Answer, Shell

TEMPLATE = {"apiVersion": "orchestrator.dev/v1alpha1", "kind": "Workflow"}
# It fails at `check` unless the input says that it is good, and counts on `first` not to be done twice.
CHECKED = {
    "nodes": [
        node("first", type_="transform", with_={"n": "${input.n}"}),
        node(
            "good",
            "first",
            type_="switch",
            with_={"cases": [{"when": "${input.good}", "to": ["last"]}], "default": ["bad"]},
        ),
        node("bad", "good", type_="fail", with_={"message": "not good", "kind": "NotGood"}),
        node("last", "good", type_="transform", with_={"n": "${nodes.first.output.n}"}),
    ],
    "output": "${nodes.last.output.n}",
}
ASKING = {
    "nodes": [
        node("go", type_="signal", with_={"schema": {"type": "object", "required": ["n"]}}),
        node("manager", "go", type_="approval", with_={"approvers": ["ada"]}),
    ],
    "output": "${nodes.manager.output.approver}",
}


@pytest.fixture
def checked(shell: Shell) -> Shell:
    """A database with one execution that failed at `bad`."""
    document = TEMPLATE | {"metadata": {"name": "checked"}, "spec": CHECKED}
    shell.write("checked.json", json.dumps(document))
    assert shell("run", "checked.json", "--input", '{"n": 1, "good": false}').code == 1
    return shell


@pytest.fixture
def asking(shell: Shell) -> Shell:
    """A database with one execution, `x`, that waits for the signal `go`, and then for the approval `manager`."""
    return submitted(shell, ["x"], ASKING, "asking")


def submitted(shell: Shell, ids: Sequence[str], spec: dict[str, Any], name: str) -> Shell:
    async def submit(store: Store) -> None:
        flow, now = workflow(spec, name=name), datetime.now(UTC)
        await store.submit([Submission(id_, flow, Engine.V2, Assignment.EXPLICIT, {"n": 1}) for id_ in ids], now)

    shell.ask(submit)
    return shell


def work(shell: Shell) -> None:
    assert shell("worker", "--until-idle").code == 0


def only(shell: Shell, *arguments: str) -> dict[str, Any]:
    (found,) = shell("executions", "list", *arguments, "--output", "json").json()
    return dict(found)


def status(shell: Shell, execution: str) -> str:
    return str(shell("executions", "show", execution, "--output", "json").json()["status"])


class TestRetry:
    def test_it_says_as_what_it_is_repeated(self, checked: Shell) -> None:
        failed = only(checked)["id"]
        again = forks.repetition_id(failed)
        assert checked("executions", "retry", failed).out.splitlines()[0] == f"{failed} retry: recorded as {again}"
        work(checked)
        found = checked("executions", "show", again, "--output", "json").json()
        assert (found["origin"], found["keys_of"], found["status"]) == (failed, failed, "failed")

    def test_asked_twice_it_is_repeated_once(self, checked: Shell) -> None:
        failed = only(checked)["id"]
        checked("executions", "retry", failed)
        answer = checked("executions", "retry", failed)
        assert (answer.code, f"repeated before as {forks.repetition_id(failed)}, which is pending" in answer.out) == (
            0,
            True,
        )
        assert len(checked("executions", "list", "--output", "json").json()) == 2

    def test_the_original_tells_its_repetition(self, checked: Shell) -> None:
        failed = only(checked)["id"]
        checked("executions", "retry", failed)
        assert f"repeated as {forks.repetition_id(failed)}" in checked("executions", "show", failed).out.splitlines()[0]

    def test_a_success_is_refused(self, checked: Shell) -> None:
        checked("run", "checked.json", "--input", '{"n": 1, "good": true}')
        answer = checked("executions", "retry", only(checked, "--status", "success")["id"])
        assert (answer.code, answer.out) == (1, "")
        assert "succeeded: there is nothing to retry" in answer.err

    def test_one_of_v1_is_refused(self, checked: Shell) -> None:
        checked("run", "checked.json", "--input", '{"n": 1, "good": false}', "--engine", "v1")
        records = checked("executions", "list", "--output", "json").json()
        answer = checked("executions", "retry", next(found["id"] for found in records if found["engine"] == "v1"))
        assert (answer.code, "V1, which keeps no events" in answer.err) == (1, True)

    def test_an_id_is_for_one_only(self, checked: Shell) -> None:
        answer = checked("executions", "retry", "--status", "failed", "--id", "again")
        assert (answer.code, answer.err[:12]) == (2, "error: --id:")


class TestFork:
    def test_with_another_input_it_takes_another_way(self, checked: Shell) -> None:
        failed = only(checked)["id"]
        fork = ("executions", "fork", failed, "--from", "good", "--input", '{"n": 1, "good": true}', "--id", "again")
        answer = checked(*fork)
        assert answer.out.splitlines()[:2] == [
            f"again forked from {failed} at good: recorded",
            "  carried: 1 of 4 nodes",
        ]
        work(checked)
        assert checked("executions", "show", "again", "--output", "json").json()["output"] == 1

    def test_with_the_same_key_it_is_forked_once(self, checked: Shell) -> None:
        fork = (
            "executions",
            "fork",
            only(checked)["id"],
            "--from",
            "good",
            "--idempotency-key",
            "k",
            "--output",
            "json",
        )
        first, second = checked(*fork).json(), checked(*fork).json()
        assert (first["id"], first["result"], second["result"]) == (second["id"], "recorded", "there already")

    def test_a_newer_file_is_what_it_runs(self, checked: Shell) -> None:
        newer = {**CHECKED, "output": "newer"}
        checked.write("newer.json", json.dumps(TEMPLATE | {"metadata": {"name": "checked"}, "spec": newer}))
        fork = ("executions", "fork", only(checked)["id"], "--from", "good", "--workflow", "newer.json")
        change = ("--input", '{"n": 1, "good": true}', "--id", "again")
        assert checked(*fork, *change).code == 0
        work(checked)
        assert checked("executions", "show", "again", "--output", "json").json()["output"] == "newer"

    def test_a_dry_run_makes_nothing(self, checked: Shell) -> None:
        fork = ("executions", "fork", only(checked)["id"], "--from", "good", "--dry-run", "--output", "json")
        found = checked(*fork).json()
        assert (found["result"], found["carried"]) == ("would be forked", [{"node": "first", "item": None}])
        assert len(checked("executions", "list", "--output", "json").json()) == 1

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("--from", "nobody"), "there is no node 'nobody'"),
            (("--from", "good", "--input", "{"), "--input is not JSON"),
            (("--from", "good", "--workflow", "other.json"), "default/other is another workflow than default/checked"),
            (("--from", "good", "--workflow", "other.json", "--revision", "current"), "cannot both be the workflow"),
        ],
    )
    def test_what_cannot_be_forked_is_bad_input(self, checked: Shell, arguments: tuple[str, ...], says: str) -> None:
        checked.write("other.json", json.dumps(TEMPLATE | {"metadata": {"name": "other"}, "spec": CHECKED}))
        answer = checked("executions", "fork", only(checked)["id"], *arguments)
        assert (answer.code, says in answer.err) == (2, True), answer.err

    def test_a_revision_that_is_not_kept_is_unknown(self, checked: Shell) -> None:
        answer = checked("executions", "fork", only(checked)["id"], "--from", "good", "--revision", "0000")
        assert (answer.code, "revision 0000 of" in answer.err) == (1, True)


class TestSignals:
    def test_a_signal_and_an_approval_take_it_to_its_end(self, asking: Shell) -> None:
        assert asking("executions", "signal", "x", "go", "--payload", '{"n": 1}').out == "x go: recorded\n"
        work(asking)
        assert asking("executions", "approve", "x", "--by", "ada").out == "x manager: recorded\n"
        work(asking)
        assert asking("executions", "show", "x", "--output", "json").json()["output"] == "ada"

    def test_a_rejection_fails_it(self, asking: Shell) -> None:
        asking("executions", "signal", "x", "go", "--payload", '{"n": 1}')
        assert asking("executions", "reject", "x", "manager", "--by", "ada", "--comment", "too dear").code == 0
        work(asking)
        found = asking("executions", "show", "x", "--output", "json").json()
        assert (found["status"], found["error"]["message"]) == ("failed", "rejected by ada: too dear")

    def test_of_one_id_the_first_counts(self, asking: Shell) -> None:
        send = ("executions", "signal", "x", "go", "--payload", '{"n": 1}', "--id", "k", "--output", "json")
        results = [asking(*send) for _ in range(2)]
        assert [(one.code, one.json()["result"]) for one in results] == [(0, "recorded"), (0, "duplicate")]

    def test_who_decides_second_is_told_so(self, asking: Shell) -> None:
        asking("executions", "approve", "x", "manager", "--by", "ada")
        answer = asking("executions", "reject", "x", "manager", "--by", "ada")
        assert (answer.code, answer.out) == (0, "x manager: nothing to do, it was sent before\n")

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("signal", "x", "stop"), "no node waits for a signal 'stop'"),
            (("signal", "x", "go", "--payload", "{}"), "payload.n: is required"),
            (("approve", "x", "manager", "--by", "eve"), "payload.approver: "),
            (("approve", "x", "--by", "ada"), "no approval waits now"),
            (("approve", "x", "go", "--by", "ada"), "'go' is no approval"),
        ],
    )
    def test_what_is_wrong_is_bad_input(self, asking: Shell, arguments: tuple[str, ...], says: str) -> None:
        answer = asking("executions", *arguments)
        assert (answer.code, says in answer.err) == (2, True), answer.err

    def test_one_that_is_over_takes_none(self, asking: Shell) -> None:
        asking("executions", "cancel", "x")
        work(asking)
        answer = asking("executions", "signal", "x", "go", "--payload", '{"n": 1}')
        assert (answer.code, answer.out) == (1, "")
        assert answer.err == "x go: nothing was recorded, the execution is over\n"

    def test_an_unknown_one_takes_none(self, asking: Shell) -> None:
        assert asking("executions", "signal", "nobody", "go").code == 1


class TestMany:
    @pytest.fixture
    def many(self, shell: Shell) -> Shell:
        return submitted(submitted(shell, [f"x{n}" for n in range(30)], ASKING, "asking"), ["y"], ASKING, "other")

    def ids(self, answer: Answer) -> set[str]:
        return {found["id"] for found in answer.json()["executions"]}

    def test_all_that_fit_are_cancelled_and_summed_up(self, many: Shell) -> None:
        answer = many("executions", "cancel", "--workflow", "asking")
        assert answer.out.splitlines()[-2:] == ["… and 10 more", "cancel: 30 recorded"]
        work(many)
        assert len(many("executions", "list", "--status", "cancelled", "--output", "json").json()) == 30
        assert status(many, "y") == "waiting"

    def test_a_dry_run_changes_nothing(self, many: Shell) -> None:
        answer = many("executions", "cancel", "--workflow", "asking", "--dry-run")
        assert answer.out.splitlines()[-1] == "cancel: 30 chosen, nothing done"
        assert many("executions", "list", "--status", "cancelled", "--output", "json").json() == []

    def test_a_limit_takes_the_newest(self, many: Shell) -> None:
        answer = many("executions", "suspend", "--status", "pending", "--limit", "5", "--output", "json")
        assert (answer.json()["recorded"], len(self.ids(answer))) == (5, 5)

    def test_the_same_command_again_finds_nothing_left(self, many: Shell) -> None:
        many("executions", "cancel", "--workflow", "asking")
        work(many)
        assert many("executions", "cancel", "--workflow", "asking").out == "cancel: none fits\n"

    def test_ages_narrow_it(self, many: Shell) -> None:
        assert many("executions", "cancel", "--older-than", "1h").out == "cancel: none fits\n"
        assert len(self.ids(many("executions", "cancel", "--newer-than", "1h", "--dry-run", "--output", "json"))) == 31

    def test_one_engines_are_chosen_alone(self, many: Shell) -> None:
        assert many("executions", "cancel", "--engine", "v1").out == "cancel: none fits\n"
        assert len(self.ids(many("executions", "cancel", "--engine", "v2", "--dry-run", "--output", "json"))) == 31

    def test_what_a_v1_that_died_left_behind_is_over_at_once_and_what_lives_is_not_touched(self, many: Shell) -> None:
        """Three on V1: one's process died an hour ago, one is at a step of an hour, one waits for a worker."""

        async def begin(store: Store) -> None:
            now, hour = datetime.now(UTC), timedelta(hours=1)
            flow, ways = workflow(), (Engine.V1, Assignment.EXPLICIT, {"n": 1})
            await store.submit([Submission("dead", flow, *ways), Submission("lives", flow, *ways)], now - hour)
            await store.claim("w", Engine.V1, 10, timedelta(seconds=15), now - hour)
            row = projection(started_at=now - hour)
            await store.v1_update([V1Update("dead", row, now - hour), V1Update("lives", row, now + hour)])
            await store.submit([Submission("waits", flow, *ways)], now)

        many.ask(begin)
        stalled = ("--engine", "v1", "--status", "running", "--stalled")
        assert [found["id"] for found in many("executions", "list", *stalled, "--output", "json").json()] == ["dead"]
        assert many("executions", "cancel", *stalled, "--yes").out.splitlines()[-1] == "cancel: 1 recorded"
        assert [status(many, id_) for id_ in ("dead", "lives", "waits")] == ["cancelled", "running", "pending"]
        assert many("executions", "cancel", *stalled, "--yes").out == "cancel: none fits\n"

    def test_a_v1_that_was_asked_before_is_said_to_look_at_its_next_node(self, many: Shell) -> None:
        async def begin(store: Store) -> None:
            now = datetime.now(UTC)
            await store.submit([Submission("v1", workflow(), Engine.V1, Assignment.EXPLICIT, {"n": 1})], now)
            await store.claim("w", Engine.V1, 1, timedelta(seconds=15), now)

        many.ask(begin)
        assert many("executions", "cancel", "v1").out == "v1 cancel: recorded\n"
        assert "V1 sees it at its next node" in many("executions", "cancel", "v1").out

    def test_several_that_are_named_are_each_answered(self, many: Shell) -> None:
        answer = many("executions", "cancel", "x1", "nobody", "x2")
        assert (answer.code, answer.out) == (1, "x1 cancel: recorded\nx2 cancel: recorded\n")
        assert "no execution 'nobody'" in answer.err

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ((), "which executions?"),
            (("x1", "--workflow", "asking"), "not both"),
            (("--older-than", "soon"), "--older-than: 'soon' is not a duration"),
        ],
    )
    def test_what_is_meant_must_be_clear(self, many: Shell, arguments: tuple[str, ...], says: str) -> None:
        answer = many("executions", "cancel", *arguments)
        assert (answer.code, says in answer.err) == (2, True), answer.err

    def test_a_person_at_a_terminal_is_asked(self, many: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr(bulk.typer, "confirm", lambda question, **_: bool(asked.append(question)))
        answer = many("executions", "cancel", "--workflow", "asking")
        assert (answer.code, asked) == (1, ["cancel 30 executions?"])
        assert many("executions", "cancel", "--workflow", "asking", "--yes").out.endswith("cancel: 30 recorded\n")

    def test_failures_are_chosen_by_kind_and_node_and_repeated(self, checked: Shell) -> None:
        by = ("--failed-kind", "NotGood", "--failed-node", "bad", "--newer-than", "1h")
        assert checked("executions", "retry", *by, "--output", "json").json()["recorded"] == 1
        assert checked("executions", "retry", "--failed-kind", "Timeout").out == "retry: none fits\n"

    def test_an_interruption_lets_the_portion_in_hand_end_and_says_how_to_go_on(
        self, many: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk, "_TOGETHER", 10)
        act, portions = bulk.controls(bulk.Control.CANCEL), []

        async def interrupted(store: Store, portion: Sequence[ExecutionRecord], now: datetime) -> list[bulk.Told]:
            portions.append(len(portion))
            if len(portions) == 2:
                task = next(each for each in asyncio.all_tasks() if each is not asyncio.current_task())
                task.cancel()
                await asyncio.sleep(0)
            return await act(store, portion, now)

        from orchestrator.cli.executions import controlling

        verb = bulk.Verb("cancel", controlling.CANCEL.statuses, interrupted)
        monkeypatch.setattr(controlling, "CANCEL", verb)
        answer = many("executions", "cancel", "--workflow", "asking")
        assert (answer.code, answer.out.splitlines()[-1]) == (130, "cancel: 20 recorded")
        assert answer.err == "interrupted with 10 left: the same command goes on\n"


class TestVerify:
    def test_what_holds_is_counted(self, checked: Shell) -> None:
        answer = checked("executions", "verify")
        assert (answer.code, answer.out) == (0, "in 1 executions, 6 events: all hold\n")

    def test_forks_and_what_waits_hold_too(self, checked: Shell) -> None:
        submitted(checked, ["x"], ASKING, "asking")
        checked("executions", "retry", "--status", "failed")
        before = checked("executions", "verify")
        work(checked)
        after = checked("executions", "verify", "--output", "json")
        assert (before.code, after.code, after.json()["executions"]) == (0, 0, 3), before.out + after.out

    def test_v1_is_counted_apart(self, checked: Shell) -> None:
        checked("run", "checked.json", "--input", '{"n": 1, "good": true}', "--engine", "v1")
        assert checked("executions", "verify").out.endswith("all hold; 1 of V1, which keeps no events\n")

    def test_a_row_that_somebody_changed_is_found(self, checked: Shell) -> None:
        import sqlite3

        with sqlite3.connect(checked.database) as database:
            database.execute("UPDATE workflow_executions SET done = 4")
        answer = checked("executions", "verify")
        assert answer.code == 1
        assert "the row is the fold of the events: the row's done is 4, its events say 2" in answer.out
        assert answer.out.endswith("1 violations\n")
