"""The legacy engine's call when an execution is over, or has moved on: a small server, each call with its own token.

    POST {ORCHESTRATOR_V1_CALLBACK_URL}/ID   Authorization: Bearer TOKEN
    {"status": "success", "output": …}, {"status": "failed", "error": "…"} or {"status": "running", "node": "…"}

200 is answered once the outcome is durable, also to a repeated call, which changes nothing. Everything else asks to be
mended (400, 401, 404, 413) or to be tried again (503).
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import quote

import structlog
from aiohttp import web

from orchestrator.engines.v1_http.reports import LARGEST, BadReport, from_document
from orchestrator.engines.v1_http.settings import variable
from orchestrator.errors import OrchestratorError, StoreUnavailable, UnknownExecution

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from orchestrator.engines.v1_http.credentials import CallbackTokens
    from orchestrator.engines.v1_http.reports import Report
    from orchestrator.engines.v1_http.words import Words

    Learned = Callable[[str, Report], Awaitable[bool]]

log = structlog.get_logger(__name__)

_DRAIN: Final = 5.0  # seconds for calls that are under way when the worker ends
_SCHEME: Final = "bearer "
_REQUIRED: Final = "the header `Authorization: Bearer TOKEN` is required, with the token of this execution"


def invitation(url: str, execution_id: str, tokens: CallbackTokens) -> dict[str, str]:
    """What the legacy engine is told: where to call, and with which token."""
    return {"url": f"{url.rstrip('/')}/{quote(execution_id, safe='')}", "token": tokens.make(execution_id)}


class CallbackServer:
    """Checks calls and passes on what they say; any worker may be called, whoever posted the execution."""

    def __init__(self, tokens: CallbackTokens, words: Words, learned: Learned) -> None:
        self._tokens, self._words, self._learned = tokens, words, learned

    def application(self) -> web.Application:
        """The aiohttp application. What stands before the id in the path is the business of whoever routes here."""
        app = web.Application(client_max_size=LARGEST)
        app.add_routes([web.post("/{before:.*}", self.hear)])
        return app

    async def hear(self, request: web.Request) -> web.Response:
        """One call: authenticated, read, made durable, answered."""
        execution_id = request.match_info["before"].rpartition("/")[2]
        header = request.headers.get("Authorization", "")
        token = header[len(_SCHEME) :].strip() if header.lower().startswith(_SCHEME) else ""
        if not self._tokens.accepts(execution_id, token):  # first: an unknown id must not tell from a known one
            log.warning("a callback was refused: its token is not the execution's", remote=request.remote)
            _refuse(web.HTTPUnauthorized, "Authorization", _REQUIRED)
        try:
            report = from_document(_without_id(await _json(request), execution_id), self._words)
            new = await self._learned(execution_id, report)
        except BadReport as bad:
            _refuse(web.HTTPBadRequest, bad.problems[0].path, bad.message)
        except UnknownExecution:
            _refuse(web.HTTPNotFound, "id", "no V1 execution of this id is here")
        except StoreUnavailable:
            _refuse(web.HTTPServiceUnavailable, "", "the outcome could not be kept: call again")
        return web.json_response({"accepted": new})

    @asynccontextmanager
    async def listening(self, listen: str) -> AsyncIterator[None]:
        """Serve while the block runs; raises OrchestratorError if nobody can listen there."""
        host, _, port = listen.rpartition(":")
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=_DRAIN)
        await runner.setup()
        try:
            # Workers of one machine and user share the port: each call goes to one of them, whichever.
            site = web.TCPSite(runner, host.strip("[]"), int(port), reuse_port=True)
            try:
                await site.start()
            except OSError as error:
                where = variable("callback_listen")
                raise OrchestratorError(f"{where}: cannot listen on {listen}: {error.strerror or error}") from None
            yield
        finally:
            await runner.cleanup()


async def _json(request: web.Request) -> Any:
    """The call's document; raises BadReport."""
    try:
        return json.loads(await request.read(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadReport("$", f"is not JSON: {error}") from None


def _without_id(document: Any, execution_id: str) -> Any:
    """A call may repeat its id; then it must be that of the path."""
    if not isinstance(document, dict) or "id" not in document:
        return document
    if document["id"] != execution_id:
        raise BadReport("id", "is not the id that the path and the token are for")
    return {name: value for name, value in document.items() if name != "id"}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse(kind: type[web.HTTPException], field: str, message: str) -> NoReturn:
    text = json.dumps({"field": field, "error": message})
    raise kind(text=text, content_type="application/json")
