"""The server: authenticate, bound, read, accept, answer. What an execution is belongs to the modules beside this one.

POST /functions/v1/execute-workflow          202 with the id; with ?wait= 200 with the result
GET  /functions/v1/execute-workflow/ID       the same of an execution that is there
GET  /functions/v1/openapi.json, /healthz    without a token
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from orchestrator import telemetry, tracecontext
from orchestrator.authoring import check_input
from orchestrator.door import openapi
from orchestrator.door.answers import describe
from orchestrator.door.pressure import Pressure
from orchestrator.door.problems import (
    PATH,
    KeyTaken,
    Refused,
    bad_request,
    later,
    of_the_library,
    response,
    unavailable,
    unprocessable,
)
from orchestrator.door.request import KEY_HEADER, read_request, read_wait
from orchestrator.door.waits import Waits
from orchestrator.errors import InvalidInput, InvalidPayload, OrchestratorError, Problem, StoreUnavailable
from orchestrator.intake import Request
from orchestrator.model import Engine
from orchestrator.payloads import check_size
from orchestrator.store.codec import dump_json

if TYPE_CHECKING:
    from datetime import timedelta

    from aiohttp.typedefs import Handler

    from orchestrator.clock import Clock
    from orchestrator.door.accepting import Accepted, Acceptor, Workflows
    from orchestrator.door.request import ExecuteRequest
    from orchestrator.door.settings import DoorSettings
    from orchestrator.door.tokens import Tokens
    from orchestrator.store.port import ExecutionRecord, Store

log = structlog.get_logger(__name__)

_OPEN: Final = frozenset({openapi.DOCUMENT, "/healthz"})
_OF_EVERY_ANSWER: Final = {"Cache-Control": "no-store", "Server": "orchestrator"}
_CALLER: Final = web.RequestKey("caller", str)


@dataclass(frozen=True, slots=True)
class Inside:
    """What the door leads to. `namespace` bounds what callers can read; "": everything in the store."""

    store: Store
    acceptor: Acceptor
    workflows: Workflows
    tokens: Tokens
    clock: Clock
    namespace: str = ""


class Door:
    """One listening socket. `serve` opens it, `aclose` drains it."""

    def __init__(self, inside: Inside, settings: DoorSettings) -> None:
        self._inside, self._settings = inside, settings
        self._pressure = Pressure(inside.store, inside.clock, settings.backlog)
        self._waits = Waits(inside.store, settings.waits)
        self._accepting: set[asyncio.Task[Accepted]] = set()
        self._draining = False
        self._runner: web.AppRunner | None = None

    # -- the process's side
    async def serve(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OrchestratorError if nobody can listen there."""
        runner = self._runner = web.AppRunner(
            self.application(),
            access_log=None,
            shutdown_timeout=self._settings.drain.total_seconds(),
            handler_cancellation=True,  # who hangs up does not wait any longer
            keepalive_timeout=75,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await self.aclose()
            why = error.strerror or error
            raise OrchestratorError(f"the HTTP door cannot listen on {host}:{port}: {why}") from None
        return int(runner.addresses[0][1])

    async def aclose(self) -> None:
        """Let nobody in, answer those who wait, and see through what is being accepted."""
        self._draining = True
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._accepting:
            await asyncio.wait(self._accepting, timeout=self._settings.drain.total_seconds())
        await self._waits.aclose()

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=self._settings.body, middlewares=[self._answered])
        app.add_routes(
            [
                web.post(PATH, self._execute),
                web.get(PATH + "/{id}", self._read),
                web.get(openapi.DOCUMENT, self._document),
                web.get("/healthz", self._healthz),
            ]
        )

        async def release(_: web.Application) -> None:
            self._waits.release()

        app.on_shutdown.append(release)
        return app

    # -- around every request
    @web.middleware
    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every refusal as a problem document, every answer counted."""
        try:
            if request.path not in _OPEN:
                request[_CALLER] = self._caller(request)
            answer = await handler(request)
        except Refused as refused:
            answer = response(refused)
        except StoreUnavailable as error:
            log.warning("the store does not answer the door", error=str(error))
            answer = response(unavailable("the store cannot be reached now"))
        except web.HTTPException as error:
            answer = response(of_the_library(error))
        except Exception:
            log.exception("a request at the door failed", method=request.method, path=request.path)
            message = "a defect of the server, told in its log; the request may or may not have been accepted"
            answer = response(Refused(HTTPStatus.INTERNAL_SERVER_ERROR, [Problem("", message)]))
        answer.headers.update(_OF_EVERY_ANSWER)
        telemetry.DOOR_REQUESTS.labels(str(answer.status)).inc()
        return answer

    def _caller(self, request: web.Request) -> str:
        if self._draining:
            raise later(HTTPStatus.SERVICE_UNAVAILABLE, "this process ends; come again", 1)
        try:
            caller = self._inside.tokens.caller(request.headers.get("Authorization"))
        except InvalidInput as error:
            log.error("nobody is let in", error=str(error))  # noqa: TRY400 - the place and the reason are in it
            raise unavailable("the tokens cannot be read now") from None
        if caller is None:
            log.warning("a caller without a known token", remote=request.remote)
            message = "the header `Authorization: Bearer TOKEN` is required, with a token that is known here"
            raise Refused(
                HTTPStatus.UNAUTHORIZED, [Problem("Authorization", message)], headers={"WWW-Authenticate": "Bearer"}
            )
        return caller

    # -- requests
    async def _execute(self, request: web.Request) -> web.Response:
        wait = self._wait(request)
        if len(self._accepting) >= self._settings.accepting:
            raise later(HTTPStatus.TOO_MANY_REQUESTS, "too many requests at once; nothing was accepted", 1)
        if (seconds := await self._pressure.retry_after()) is not None:
            message = f"workers do not keep up: nothing was accepted; come again in {seconds} s"
            raise later(HTTPStatus.TOO_MANY_REQUESTS, message, seconds)
        asked = read_request(await self._body(request), request.headers.get(KEY_HEADER))
        wanted = await self._wanted(asked, request)
        # Whoever hangs up now has been accepted all the same: half of it would be worse.
        task = asyncio.create_task(self._accept(wanted, request[_CALLER]), name=f"accept:{wanted.id}")
        self._accepting.add(task)
        task.add_done_callback(self._accepted)
        accepted = await asyncio.shield(task)
        return await self._told(accepted.id, wait)

    async def _read(self, request: web.Request) -> web.Response:
        return await self._told(request.match_info["id"], self._wait(request))

    async def _document(self, _: web.Request) -> web.Response:
        return web.Response(text=openapi.text(), content_type="application/json")

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": not self._draining}, status=503 if self._draining else 200)

    # -- the steps of a request
    def _wait(self, request: web.Request) -> timedelta | None:
        unknown = sorted(request.query.keys() - {"wait"})
        if unknown:
            raise bad_request(unknown[0], "is no query parameter here; `wait` is")
        return read_wait(request.query.get("wait"), self._settings.longest_wait)

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._settings.reading.total_seconds()):
                return await request.read()
        except TimeoutError:
            seconds = self._settings.reading.total_seconds()
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, [Problem("body", f"did not come within {seconds:g} s")]) from None

    async def _wanted(self, asked: ExecuteRequest, request: web.Request) -> Request:
        """The checked execution that is asked for; raises Refused."""
        try:
            workflow = await self._inside.workflows.find(asked.workflow)
            check_input(workflow, asked.input)
            check_size(dump_json(asked.input, "input"), "input")
        except InvalidInput as error:
            raise unprocessable(error) from None
        except InvalidPayload as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, [Problem("input", str(error))]) from None
        headers = request.headers
        return Request(
            id=str(uuid.uuid4()),
            workflow=workflow,
            input=asked.input,
            engine=None if asked.engine == "auto" else Engine(asked.engine),
            routing_key=asked.routing_key,
            idempotency_key=asked.idempotency_key,
            trace=tracecontext.read(headers.get(tracecontext.TRACEPARENT), headers.get(tracecontext.TRACESTATE)),
        )

    async def _accept(self, wanted: Request, caller: str) -> Accepted:
        try:
            accepted = await self._inside.acceptor.accept(wanted)
        except KeyTaken as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, [Problem("idempotencyKey", str(error))]) from None
        except InvalidInput as error:
            raise unprocessable(error) from None
        except InvalidPayload as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, [Problem("input", str(error))]) from None
        if accepted.created:
            self._pressure.accepted()
        log.info("accepted at the door", execution=accepted.id, caller=caller, again=not accepted.created)
        return accepted

    def _accepted(self, task: asyncio.Task[Accepted]) -> None:
        self._accepting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Refused):
            log.warning("a request was not accepted", error=str(error))

    async def _told(self, execution_id: str, wait: timedelta | None) -> web.Response:
        """How an execution stands: now, or when it is over or the time is."""
        record = await self._find(execution_id)
        if record.finished_at is None and wait:
            await self._waits.until_over(execution_id, wait.total_seconds())
            record = await self._find(execution_id)
        over = record.finished_at is not None
        headers = {} if over else {"Location": f"{PATH}/{execution_id}"}
        text = json.dumps(describe(record), ensure_ascii=False)
        return web.Response(status=200 if over else 202, text=text, content_type="application/json", headers=headers)

    async def _find(self, execution_id: str) -> ExecutionRecord:
        if "\x00" not in execution_id:  # no store has such an id, and PostgreSQL cannot even be asked
            record = await self._inside.store.get(execution_id)
            namespace = self._inside.namespace
            if record is not None and namespace in ("", record.workflow_id.partition("/")[0]):
                return record
        raise Refused(HTTPStatus.NOT_FOUND, [Problem("id", "no execution of this id is here")])
