"""The door's HTTP: who calls, how much they may send, what is answered. What is done for them stands in service.py.

POST /functions/v1/execute-workflow          202 with the id; with ?wait= 200 with the result
GET  /functions/v1/execute-workflow/ID       the same of an execution that is there
GET  /functions/v1/openapi.json, /healthz    without a token
"""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import web

from orchestrator import telemetry, tracecontext
from orchestrator.door import openapi
from orchestrator.door.problems import PATH, Refused, bad_request, later, of_the_library, response, unavailable
from orchestrator.door.request import KEY_HEADER, only, read_request, read_wait
from orchestrator.door.service import Inside, Service
from orchestrator.errors import InvalidInput, OrchestratorError, Problem, StoreUnavailable
from orchestrator.model import Status, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from aiohttp.typedefs import Handler

    from orchestrator.door.settings import DoorSettings
    from orchestrator.tracing import RequestSpan, Tracing

__all__ = ["Door", "Inside"]

log = structlog.get_logger(__name__)

_OPEN: Final = frozenset({openapi.DOCUMENT, "/healthz"})
_OF_EVERY_ANSWER: Final = {"Cache-Control": "no-store", "Server": "orchestrator"}
_CALLER: Final = web.RequestKey("caller", str)
_TRACE: Final = web.RequestKey("trace", Trace)  # the one that the execution will be in
_EXECUTION: Final = web.RequestKey("execution", str)  # as soon as it is accepted
_KEEP_ALIVE: Final = 75.0  # seconds: longer than the proxies before it keep theirs


class Door:
    """One listening socket. `serve` opens it, `aclose` drains it."""

    def __init__(self, inside: Inside, settings: DoorSettings, tracing: Tracing | None = None) -> None:
        self._settings, self._tokens, self._tracing = settings, inside.tokens, tracing
        self.service = Service(inside, settings)
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
            keepalive_timeout=_KEEP_ALIVE,
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
        await self.service.aclose()

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
            self.service.waits.release()

        app.on_shutdown.append(release)
        return app

    # -- around every request
    @web.middleware
    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every refusal as a problem document, every answer counted and told to the trace."""
        with self._traced(request) as span:
            answer = await self._answer(request, handler)
            if span is not None:
                span.answered(answer.status, request.get(_EXECUTION))
        answer.headers.update(_OF_EVERY_ANSWER)
        telemetry.DOOR_REQUESTS.labels(str(answer.status)).inc()
        return answer

    @contextmanager
    def _traced(self, request: web.Request) -> Iterator[RequestSpan | None]:
        """Around a request that asks for an execution, which begins below the span."""
        if request.method != "POST" or request.path != PATH:
            yield None
            return
        places, states = (
            request.headers.getall(name, []) for name in (tracecontext.TRACEPARENT, tracecontext.TRACESTATE)
        )
        # As the standard has it: several states are one list, several places are none.
        trace = tracecontext.read(places[0] if len(places) == 1 else None, ",".join(states))
        if self._tracing is None:
            if trace is not None:
                request[_TRACE] = trace
            yield None
            return
        with self._tracing.request(trace, PATH) as span:
            request[_TRACE] = span.trace
            yield span

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path not in _OPEN:
                request[_CALLER] = self._caller(request)
            return await handler(request)
        except Refused as refused:
            return response(refused)
        except StoreUnavailable as error:
            log.warning("the store does not answer the door", error=str(error))
            return response(unavailable("the store cannot be reached now"))
        except web.HTTPException as error:
            return response(of_the_library(error))
        except Exception:
            log.exception("a request at the door failed", method=request.method, path=request.path)
            message = "a defect of the server, told in its log; the request may or may not have been accepted"
            return response(Refused(HTTPStatus.INTERNAL_SERVER_ERROR, [Problem("", message)]))

    def _caller(self, request: web.Request) -> str:
        if self._draining:
            raise later(HTTPStatus.SERVICE_UNAVAILABLE, "this process ends; come again", 1)
        try:
            caller = self._tokens.caller(only(request.headers.getall("Authorization", []), "Authorization"))
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
        wait, key = self._wait(request), only(request.headers.getall(KEY_HEADER, []), KEY_HEADER)
        async with self.service.admitted() as admission:
            asked = read_request(await self._body(request), key)
            wanted, accepted = await self.service.accept(asked, request.get(_TRACE), request[_CALLER], admission)
        request[_EXECUTION] = accepted.id
        return _shown(await self.service.told(wanted, accepted, wait))

    async def _read(self, request: web.Request) -> web.Response:
        return _shown(await self.service.stands(request.match_info["id"], self._wait(request)))

    async def _document(self, _: web.Request) -> web.Response:
        return web.Response(text=openapi.text(), content_type="application/json")

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": not self._draining}, status=503 if self._draining else 200)

    # -- what a request brings
    def _wait(self, request: web.Request) -> timedelta | None:
        unknown = sorted(request.query.keys() - {"wait"})
        if unknown:
            raise bad_request(unknown[0], "is no query parameter here; `wait` is")
        return read_wait(only(request.query.getall("wait", []), "wait"), self._settings.longest_wait)

    async def _body(self, request: web.Request) -> bytes:
        seconds = self._settings.reading.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                return await request.read()
        except TimeoutError:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, [Problem("body", f"did not come within {seconds:g} s")]) from None


def _shown(described: dict[str, Any]) -> web.Response:
    over = Status(described["status"]).terminal
    headers = {} if over else {"Location": f"{PATH}/{described['id']}"}
    text = json.dumps(described, ensure_ascii=False) + "\n"  # for those who read it in a terminal
    return web.Response(status=200 if over else 202, text=text, content_type="application/json", headers=headers)
