"""One real run with secrets that services echo: none of them stands anywhere that a person or a program can look."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sqlalchemy as sa
from orchestrator_operator.specs import EXECUTIONS, ROLLOUTS, WORKFLOWS

from tests.support.invariants import in_tables
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.site import execution, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.live import ControlPlane
    from tests.support.postgres import LocalPostgres
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

NAMESPACE = "canary"
SAID = "you-sent"  # stands wherever an answer of the service was kept: so there was something to see


class Echo:
    """A service that tells everybody what it was sent, and takes the spans of whoever sends some."""

    def __init__(self) -> None:
        self.spans: list[bytes] = []
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path == "/v1/traces":
                    outer.spans.append(body)
                    self.send_response(200)
                    self.end_headers()
                    return
                outer.asked += 1
                sent = self.headers.get("Authorization", "")
                answer = json.dumps({SAID: sent, sent: True}).encode()
                self.send_response(int(self.path.strip("/")))
                self.send_header("Content-Type", "application/json")
                self.send_header("X-Echo", sent)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Nothing: the test looks at what ours say."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Canaries:
    """What must be nowhere: each a value of its own, so that a finding says which it was."""

    def __init__(self) -> None:
        self.bearer, self.database, self.door, self.wrong = (f"canary{secrets.token_hex(16)}" for _ in range(4))

    def in_(self, text: str) -> list[str]:
        return [name for name, value in vars(self).items() if value in text]


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture(scope="module")
def run(
    control_plane: ControlPlane,
    postgres: LocalPostgres,
    canaries: Canaries,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Executions that ended well and badly, by resources and by the door, on both engines, with tracing."""
    folder, echo, port = tmp_path_factory.mktemp("canary"), Echo(), free_port()
    kept = folder / "secrets" / NAMESPACE / "shop"
    kept.mkdir(parents=True)
    (kept / "token").write_text(canaries.bearer)
    (kept / "hosts").write_text("http://127.0.0.1")
    tokens = folder / "tokens"
    tokens.mkdir()
    (tokens / "caller").write_text(canaries.door)
    # The server trusts everybody, which what reads the URL does not know.
    url = sa.make_url(postgres.create_database()).set(password=canaries.database).render_as_string(hide_password=False)
    traced = {"ORCHESTRATOR_TRACING": "on", "OTEL_EXPORTER_OTLP_ENDPOINT": echo.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    door = {"ORCHESTRATOR_DOOR_LISTEN": f"127.0.0.1:{port}", "ORCHESTRATOR_DOOR_TOKENS": str(tokens)}
    worker = {"ORCHESTRATOR_SECRETS": str(folder / "secrets"), "ORCHESTRATOR_HTTP_ALLOW": "127.0.0.0/8", **traced}
    with control_plane.site(NAMESPACE, database=url, operator=door, worker=worker) as site:
        site.start("operator", "worker")
        site.apply(*(calls(echo.url, name, status) for name, status in (("good", 200), ("bad", 422))))
        names = [f"{flow}-{engine}" for flow in ("good", "bad") for engine in ("v1", "v2")]
        site.apply(*(execution(name, name.partition("-")[0], engine=name[-2:]) for name in names))
        site.until_over(names)
        for token, code in ((canaries.wrong, 401), (canaries.door, 200)):
            answer = eventually(lambda token=token: asked(port, token), "the door answers", every=0.5)
            assert answer.status_code in (code, 202), answer.text
        eventually(lambda: echo.spans, "spans were sent")
        site.notes |= {"echo": echo, "folder": folder}
        yield site
        echo.close()


def calls(service: str, name: str, status: int) -> dict[str, Any]:
    """Two calls, of which the second sends what the first one's output holds."""
    auth = {"bearer": {"secret": "shop", "key": "token"}}
    first = {"method": "POST", "url": f"{service}/200", "auth": auth}
    second = {**first, "url": f"{service}/{status}", "body": "${nodes.a.output.body}"}
    nodes = [{"id": "a", "type": "http", "with": first}, {"id": "b", "type": "http", "needs": ["a"], "with": second}]
    return workflow(name, *nodes, output="${nodes.b.output}")


def asked(port: int, token: str) -> httpx.Response | None:
    url = f"http://127.0.0.1:{port}/functions/v1/execute-workflow"
    try:
        return httpx.post(
            url,
            params={"wait": "20s"},
            json={"workflow": "good"},
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=60,
        )
    except httpx.ConnectError:
        return None


def command(site: Site, *arguments: str) -> str:
    """What a command of ours says of this run, on both streams."""
    environment = os.environ | {
        "ORCHESTRATOR_DATABASE": site.database,
        "ORCHESTRATOR_NAMESPACE": site.namespace,
        "KUBECONFIG": str(site.plane.cluster.kubeconfig),
    }
    words = [sys.executable, "-m", "orchestrator.cli.main", "--verbose", *arguments]
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def test_the_services_got_what_they_need(run: Site, canaries: Canaries) -> None:
    assert run.notes["echo"].asked >= 8


def test_no_log_holds_one(run: Site, canaries: Canaries) -> None:
    logs = {path.name: path.read_text(errors="replace") for path in run.logs.glob("*.log")}
    assert {"operator.log", "worker.log"} <= logs.keys()
    assert {name: found for name, text in logs.items() if (found := canaries.in_(text))} == {}


def test_no_resource_event_or_lease_holds_one(run: Site, canaries: Canaries) -> None:
    kinds = ",".join(f"{kind.plural}.orchestrator.dev" for kind in (WORKFLOWS, EXECUTIONS, ROLLOUTS))
    text = run.kubectl("get", f"{kinds},events,leases", "-o", "json", "--show-managed-fields")
    assert SAID in text
    assert canaries.in_(text) == []


def test_no_table_and_no_view_holds_one(run: Site, canaries: Canaries) -> None:
    assert in_tables(run.database, SAID)
    assert [row for value in vars(canaries).values() for row in in_tables(run.database, value)] == []


def test_no_metric_holds_one(run: Site, canaries: Canaries) -> None:
    assert canaries.in_(run.metrics("operator") + run.metrics("worker")) == []


def test_no_span_holds_one(run: Site, canaries: Canaries) -> None:
    text = b"".join(run.notes["echo"].spans).decode("latin-1")
    assert "good" in text
    assert canaries.in_(text) == []


@pytest.mark.parametrize(
    "words",
    [
        ("report", "all", "--output", "json"),
        ("executions", "list", "--output", "json"),
        ("db", "status"),
    ],
    ids=" ".join,
)
def test_no_command_tells_one(run: Site, canaries: Canaries, words: tuple[str, ...]) -> None:
    assert canaries.in_(command(run, *words)) == []


def test_no_history_of_an_execution_tells_one(run: Site, canaries: Canaries) -> None:
    for body in run.all("Execution"):
        if body["status"]["engine"] == "v2":
            assert canaries.in_(command(run, "executions", "show", body["metadata"]["uid"], "--output", "json")) == []


def test_no_support_bundle_holds_one(run: Site, canaries: Canaries) -> None:
    path: Path = run.notes["folder"] / "bundle.tar.gz"
    said = command(run, "support-bundle", "--with-messages", "-n", run.namespace, "-o", str(path))
    with tarfile.open(path) as archive:
        files = {member.name: file.read().decode() for member in archive if (file := archive.extractfile(member))}
    assert len(files) > 5
    assert canaries.in_(said) == []
    assert {name: found for name, text in files.items() if (found := canaries.in_(text))} == {}
