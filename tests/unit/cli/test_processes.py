"""`run` and `worker` as processes: signals, timers, and standard output that holds the answer alone."""

from __future__ import annotations

import json
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.cli.conftest import effects
from tests.unit.cli.test_run import DOUBLE, document

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cli.conftest import Shell

DEADLINE = 60.0  # seconds; a busy machine takes its time to start an interpreter


def until(reached: Callable[[], bool]) -> None:
    """Poll until something is so."""
    end = time.monotonic() + DEADLINE
    while not reached():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def chain(module: str, between: str) -> str:
    """Two counted steps with a wait between them."""
    count = f'type: python, with: {{call: "{module}:count"}}'
    return document(
        f"{{id: first, {count}}}",
        f"{{id: pause, type: wait, needs: [first], with: {{duration: {between}}}}}",
        f"{{id: second, needs: [pause], {count}}}",
        output='"${nodes.second.output}"',
    )


def the_execution(shell: Shell) -> dict[str, Any]:
    (found,) = shell("executions", "list", "--output", "json").json()
    return dict(found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_finished_by_the_next_worker(shell: Shell, counting: str, number: signal.Signals) -> None:
    path = shell.write("w.yaml", chain(counting, "3s"))
    with shell.process("run", path, "--functions", counting) as process:
        until(lambda: len(effects(shell.folder)) == 1)
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert "Traceback" not in err
    found = the_execution(shell)
    assert f"interrupted: {found['id']} is kept and goes on with `orchestrator worker --until-idle`" in err
    assert found["status"] in ("running", "waiting"), out

    assert shell("worker", "--until-idle", "--functions", counting).code == 0
    found = the_execution(shell)
    assert (found["status"], found["output"]) == ("success", 2)
    assert effects(shell.folder) == [f"{found['id']}/first", f"{found['id']}/second"]


def test_an_interrupted_run_goes_on_with_the_same_key(shell: Shell, counting: str) -> None:
    path = shell.write("w.yaml", chain(counting, "2s"))
    run = ("run", path, "--functions", counting, "--idempotency-key", "k", "--output", "json")
    with shell.process(*run) as process:
        until(lambda: len(effects(shell.folder)) == 1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=DEADLINE)
    begun = json.loads(out)
    assert (process.returncode, begun["status"] != "success") == (130, True)
    answer = shell(*run)
    assert (answer.code, answer.json()["id"], answer.json()["output"]) == (0, begun["id"], 2)
    assert len(effects(shell.folder)) == 2


def test_a_killed_runs_execution_is_finished_by_the_next_worker(
    shell: Shell, counting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_LEASE", "1s")  # how long a dead process' executions wait
    path = shell.write("w.yaml", chain(counting, "100ms"))
    with shell.process("run", path, "--functions", counting) as process:
        until(lambda: len(effects(shell.folder)) == 1)
        process.kill()
        process.wait()
    assert shell("worker", "--until-idle", "--functions", counting).code == 0
    found = the_execution(shell)
    assert found["status"] == "success"
    assert {f"{found['id']}/first", f"{found['id']}/second"} == set(effects(shell.folder))


def test_a_worker_until_idle_waits_for_timers(shell: Shell, counting: str) -> None:
    path = shell.write("w.yaml", chain(counting, "2s"))
    with shell.process("run", path, "--functions", counting) as process:
        until(lambda: len(effects(shell.folder)) == 1)
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE)
    events = shell("executions", "events", the_execution(shell)["id"], "--output", "json").json()
    due = next(event["data"]["until"] for event in events if event["type"] == "TimerStarted")
    assert shell("worker", "--until-idle", "--functions", counting).code == 0
    found = the_execution(shell)
    assert found["status"] == "success"
    assert found["finished_at"] >= due


def test_a_worker_until_idle_on_nothing_exits_at_once(shell: Shell) -> None:
    answer = shell("worker", "--until-idle")
    assert (answer.code, answer.out) == (0, "")


def test_a_worker_drains_on_sigterm(shell: Shell, counting: str) -> None:
    with shell.process("-v", "worker", "--functions", counting) as process:
        assert process.stderr is not None
        began = process.stderr.readline()
        process.terminate()
        out, rest = process.communicate(timeout=DEADLINE)
    assert "worker started" in began
    assert (process.returncode, out) == (0, "")
    assert "worker stopped" in rest


def test_logs_go_to_standard_error_and_the_answer_alone_to_standard_output(shell: Shell) -> None:
    run = ("-v", "run", shell.write("w.yaml", DOUBLE), "--input", '{"n": 2}', "--output", "json")
    with shell.process(*run) as process:
        out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, json.loads(out)["output"]) == (0, 4)
    lines = [json.loads(line) for line in err.splitlines()]
    assert any(line["event"] == "Usando Orchestrator V2" for line in lines)


def test_a_port_that_is_taken_is_told(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = shell("worker", "--until-idle", "--metrics-port", str(port), "--metrics-address", "127.0.0.1")
    assert answer.code == 1
    assert answer.err.startswith(f"error: --metrics-port: cannot listen on 127.0.0.1:{port}: ")
