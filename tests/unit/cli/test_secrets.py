"""Secrets on the command line: where they come from, and that none is in what a process leaves behind."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from orchestrator.masks import MASK
from tests.support.services import keep_secret
from tests.unit.cli.test_run import document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.cli.conftest import Shell

CANARY = "canary-8d1f2c"
STEPS = """
import asyncio, logging
import structlog
from orchestrator.functions import NonRetryable, function

@function(name="gossip")
def gossip(context):
    value = context.secret("api", "token")
    structlog.get_logger().warning("structlog", value=value, nested={"deep": [value]})
    logging.getLogger("library").warning("standard %s %s", value, {"deep": value})
    try:
        raise KeyError(value)
    except KeyError:
        logging.getLogger("library").exception("with a traceback")
        structlog.get_logger().exception("with a traceback")
    return {"value": value}

@function(name="forget")
async def forget(context):
    async def fails():
        raise ValueError(context.secret("api", "token"))
    task = asyncio.create_task(fails())
    await asyncio.sleep(0.01)
    del task
    raise NonRetryable("failed with " + context.secret("api", "token"))
"""


@pytest.fixture
def echo() -> Iterator[str]:
    """The URL of a service that says what it was told."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = json.dumps({"told": self.headers["Authorization"]}).encode()
            self.send_response(500 if self.path == "/fail" else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.send_header("X-Told", self.headers["Authorization"])
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            """Not to standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("engine", ["v1", "v2"])
def test_a_secret_is_in_nothing_that_a_process_leaves_behind(
    shell: Shell, echo: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.write("gossip.py", STEPS)
    keep_secret(shell.folder / "secrets", "api", namespace="shop", hosts=echo, token=CANARY)
    monkeypatch.setenv("ORCHESTRATOR_SECRETS", str(shell.folder / "secrets"))
    monkeypatch.setenv("ORCHESTRATOR_HTTP_ALLOW", "127.0.0.1")
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    auth, once = "auth: {bearer: {secret: api, key: token}}", "{maxAttempts: 1}"
    path = shell.write(
        "w.yaml",
        document(
            f"{{id: asks, type: http, with: {{url: {echo}/x, {auth}}}}}",
            "{id: tells, needs: [asks], type: transform, with: {said: '${nodes.asks.output}'}}",
            "{id: gossips, needs: [tells], type: python, with: {call: gossip}}",
            "{id: forgets, needs: [gossips], type: python, with: {call: forget}}",  # V1 ends here
            f"{{id: fails, needs: [gossips], type: http, with: {{url: {echo}/fail, {auth}}}, retry: {once}}}",
        ),
    )
    with shell.process("-v", "run", path, "--functions", "gossip", "--engine", engine) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "with a traceback" in err
    assert f"standard {MASK}" in err
    assert CANARY not in out + err
    stored = b"".join(file.read_bytes() for file in shell.folder.glob("orchestrator.db*"))
    assert f"failed with {MASK}".encode() in stored
    assert (f"Bearer {MASK}".encode() in stored) == (engine == "v2")  # V1 keeps no outputs of steps
    assert CANARY.encode() not in stored


def test_without_the_setting_a_step_says_what_to_set(shell: Shell) -> None:
    auth = "auth: {bearer: {secret: api, key: token}}"
    path = shell.write("w.yaml", document(f"{{id: asks, type: http, with: {{url: 'https://example.com', {auth}}}}}"))
    answer = shell("run", path)
    assert answer.code == 1
    assert "set ORCHESTRATOR_SECRETS to the folder" in answer.out + answer.err


def test_a_folder_that_is_not_there_stops_the_start(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_SECRETS", str(shell.folder / "nowhere"))
    answer = shell("worker", "--until-idle")
    assert answer.code == 2
    assert "error: ORCHESTRATOR_SECRETS: " in answer.err
