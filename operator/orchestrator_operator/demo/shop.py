"""A small real HTTP service for the sample workflows to call: `python -m orchestrator_operator.demo.shop`.

POST /reserve /charge /ship /notify /quote with a JSON object that has an `order`; the header `Idempotency-Key` is
honoured. GET /ledger is the books in numbers, GET /healthz says that it is up. POST /admin/faults (only from this
machine) makes it refuse a share of one engine's requests: how the demo's V2 comes to fail really.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from orchestrator_operator.demo.ledger import PATHS, Answer, Call, Faults, Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LARGEST_BODY = 64 * 1024
_STATUSES = range(400, 600)


class Shop:
    """The handlers. The books are kept by one thread, so that a slow disk never stops the event loop."""

    def __init__(self, database: Path) -> None:
        self._books = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._ledger = Ledger(database)
        self._faults = Faults()

    def application(self) -> web.Application:
        """The aiohttp application, ready to be served."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.add_routes([web.post(path, self.sell) for path in PATHS])
        app.add_routes(
            [
                web.get("/healthz", self.health),
                web.get("/ledger", self.summary),
                web.post("/admin/faults", self.set_faults),
            ]
        )
        app.cleanup_ctx.append(self._close)
        return app

    async def sell(self, request: web.Request) -> web.Response:
        """One effect for each key, or a refusal that says why."""
        body = await _json_object(request)
        order = body.get("order")
        if not isinstance(order, str) or not order:
            raise _refusal("order: a text is required")
        call = Call(
            key=request.headers.get("Idempotency-Key") or uuid.uuid4().hex,
            path=request.path,
            order=order,
            engine=request.headers.get("X-Orchestrator-Engine", "none"),
            at=time.time(),
            body=body,
        )
        answer: Answer = await self._in_books(self._ledger.record, call, self._faults)
        headers = {"Idempotent-Replayed": "true"} if answer.replayed else None
        return web.json_response(dict(answer.body), status=answer.status, headers=headers)

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def summary(self, _: web.Request) -> web.Response:
        return web.json_response((await self._in_books(self._ledger.summary)).to_json())

    async def set_faults(self, request: web.Request) -> web.Response:
        """`{"engine": "v2", "share": 0.4, "status": 422}`; a share of 0 ends it. Only from this machine."""
        if request.remote is None or not ip_address(request.remote).is_loopback:
            raise web.HTTPForbidden(text="only from this machine")
        body = await _json_object(request)
        engine, share, status = body.get("engine"), body.get("share"), body.get("status", 422)
        if engine not in ("v1", "v2"):
            raise _refusal("engine: v1 or v2")
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise _refusal("share: a number from 0 to 1")
        if status not in _STATUSES:
            raise _refusal("status: an HTTP status from 400 to 599")
        self._faults = Faults(engine, float(share), status)
        return web.json_response({"engine": engine, "share": share, "status": status})

    async def _in_books(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._books, work, *arguments)

    async def _close(self, _: web.Application) -> AsyncIterator[None]:
        yield
        await self._in_books(self._ledger.close)
        self._books.shutdown()


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _refusal(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise _refusal("the body must be a JSON object")
    return body


def _refusal(message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": message}), content_type="application/json")


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="shop", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", type=Path, required=True, help="the SQLite file of its ledger")
    options = parser.parse_args()
    app = Shop(options.database).application()
    web.run_app(app, host=options.host, port=options.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
