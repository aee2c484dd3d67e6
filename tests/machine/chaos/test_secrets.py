"""No secret stands in any table, log or status, also when a service echoes it and workers die in between."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestServer
from orchestrator_operator.specs.execution import build_status

from orchestrator.cli.executions import describe
from orchestrator.model import Status
from tests.support.engine import node, spec
from tests.support.fleet import Fleet
from tests.support.invariants import all_over, in_files, in_tables, store_violations
from tests.support.polling import until
from tests.support.stores import submission, workflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orchestrator.model import Workflow
    from orchestrator.store import ExecutionRecord, Store
    from tests.support.chaos import Chaos, Round

AT_ONCE = 4  # of each kind


async def test_no_secret_stands_in_any_table_log_or_status(
    chaos: Chaos, store: Store, database: str, tmp_path: Path
) -> None:
    for round_ in chaos.rounds():
        folder = tmp_path / f"round-{round_.number}"
        token, password = f"canary/{secrets.token_hex(16)}", f"canary{secrets.token_hex(16)}"
        records = await echoed(store, with_password(database, password), folder, round_, token, chaos)
        for canary in (token, password):
            assert in_tables(database, canary) == []
            assert in_files(folder, canary) == []
            assert [record.id for record in records if canary in shown(record)] == []
        assert in_tables(database, "you sent")  # where it looks there is something to see …
        assert in_files(folder, "you sent")  # … and in the logs, too: they tell why an execution failed
        assert await store_violations(store, [record.id for record in records]) == []


async def echoed(
    store: Store, database: str, folder: Path, round_: Round, token: str, chaos: Chaos
) -> list[ExecutionRecord]:
    """Executions whose services told them the token, in answers that were good and in answers that were errors."""
    settings = {"ORCHESTRATOR_SECRETS": str(mounted(folder.with_name(f"secrets-{round_.number}"), token))}
    received: Counter[str] = Counter()
    async with echo(received) as service:
        with Fleet(database, folder, lease="1s", environment=settings) as fleet:
            worker = fleet.start()
            flows = {"good": calls(service, 200), "bad": calls(service, 422)}
            ids = [f"{kind}{round_.number}-{index}" for kind in flows for index in range(AT_ONCE)]
            submissions = [submission(id_, workflow=flows[id_.rstrip("0123456789-")]) for id_ in ids]
            await store.submit(submissions, datetime.now(UTC))
            moment = round_.random.randrange(1, 2 * len(ids))
            await until(lambda: received.total() >= moment, "the service is asked")
            worker.kill()
            fleet.start()
            records = await all_over(store, ids, within=90)
    chaos.count("answers that held a secret", received.total())
    assert {record.status for record in records if record.id.startswith("good")} == {Status.SUCCESS}
    assert {record.status for record in records if record.id.startswith("bad")} == {Status.FAILED}
    return records


def with_password(database: str, password: str) -> str:
    """The server trusts everybody, which what reads the URL does not know; SQLite has no passwords."""
    url = sa.make_url(database)
    return database if url.host is None else url.set(password=password).render_as_string(hide_password=False)


def mounted(folder: Path, token: str) -> Path:
    """The folder of a worker's secrets."""
    keys = folder / "default" / "shop"
    keys.mkdir(parents=True)
    (keys / "token").write_text(token)
    (keys / "hosts").write_text("http://127.0.0.1")
    return folder


@asynccontextmanager
async def echo(received: Counter[str]) -> AsyncIterator[str]:
    """A service that tells everybody what it was sent, in body and headers, with the status that its path asks for."""

    async def answer(request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization", "")
        received[request.path] += 1
        body = {"you sent": sent, sent: True}
        return web.json_response(body, status=int(request.path.strip("/")), headers={"X-Echo": sent})

    app = web.Application()
    app.router.add_route("*", "/{status}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.port}"


def calls(service: str, status: int) -> Workflow:
    """Two calls, of which the second sends what the first one's output holds."""
    auth = {"bearer": {"secret": "shop", "key": "token"}}
    first: dict[str, Any] = {"method": "POST", "url": f"{service}/200", "auth": auth, "body": {"n": "${input.n}"}}
    second = first | {"url": f"{service}/{status}", "body": "${nodes.a.output.body}"}
    nodes = (node("a", type_="http", **{"with": first}), node("b", "a", type_="http", **{"with": second}))
    return workflow(spec(*nodes, output="${nodes.b.output}"), f"echo-{status}")


def shown(record: ExecutionRecord) -> str:
    """What people see of an execution: by the command line, and as the status of its resource."""
    return json.dumps([describe(record), build_status(record)], default=str)
