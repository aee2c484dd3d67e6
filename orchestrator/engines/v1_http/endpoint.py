"""The deployed legacy endpoint: posts executions to it, once each, and cancels.

Only a connection that could not be made is tried again: then nothing was sent. Whatever fails after that is not, since
the legacy engine may have started the execution, and need not honour the `Idempotency-Key`. No redirect is followed: a
POST, its credential and its input go where the settings say.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import aiohttp
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)
from yarl import URL

from orchestrator.engines.v1_http.credentials import TokenFile
from orchestrator.engines.v1_http.reports import LARGEST, Answer
from orchestrator.errors import InvalidInput, OrchestratorError, Problem
from orchestrator.masks import MASKS
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.http_answer import output_of, shown
from orchestrator.nodes.http_client import open_client

if TYPE_CHECKING:
    from orchestrator.engines.v1_http.settings import V1HttpSettings

_CONNECT_FOR: Final = timedelta(seconds=15)  # how long a connection is tried again
_CONNECT_SECONDS: Final = 10.0  # for each address that the host has
_CANCEL_TRIES: Final = 5
_CANCEL_TIMEOUT: Final = timedelta(seconds=30)
_EXCERPT = 200  # characters of an answer that messages quote
_SERVER_ERROR = 500
_REDIRECTS = range(300, 400)


class NotSent(OrchestratorError):
    """No connection could be made: the execution was certainly not started."""


class NoAnswer(OrchestratorError):
    """The request went out, and no whole answer came back: nobody knows whether the execution was started."""


class Endpoint:
    """One client for all executions of a worker; close it with `aclose`."""

    def __init__(self, settings: V1HttpSettings) -> None:
        self._url, self._cancel_url = URL(settings.url), settings.cancel_url
        self._token = TokenFile(settings.token_file, settings.token_header)
        self._token.headers()  # a file that cannot be used is told at the start
        urls = [self._url, *([URL(self._cancel_url)] if self._cancel_url else [])]
        # Its own hosts alone, private ones, too: whoever set the URL runs the worker. HTTP nodes do not profit.
        self._client = open_client(AllowList.parse(",".join(map(_authority, urls))))

    async def aclose(self) -> None:
        await self._client.close()

    async def start(self, execution_id: str, workflow_id: str, input_: Any, callback: dict[str, str] | None) -> Answer:
        """Post an execution; waits for the answer as long as it takes.

        Raises NotSent, NoAnswer, StepError for an answer that is too large or not plain, and InvalidInput for a token
        that cannot be read any more; then nothing was sent either.
        """
        body = {"id": execution_id, "workflow": workflow_id, "input": input_}
        if callback is not None:
            body["callback"] = callback
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(NotSent),
            wait=wait_random_exponential(multiplier=0.2, max=3.0),
            stop=stop_after_delay(_CONNECT_FOR),
            reraise=True,
        ):
            with attempt:
                return await self._post(self._url, execution_id, body)
        raise AssertionError("unreachable: reraise is set")

    async def cancel(self, execution_id: str, workflow_id: str) -> Answer | None:
        """Post a cancel, some times if need be: twice does no harm. None if the settings name no place for it; raises
        NotSent, NoAnswer, StepError and InvalidInput.
        """
        if self._cancel_url is None:
            return None
        url = URL(self._cancel_url.replace("{id}", quote(execution_id, safe="")), encoded=True)
        body = {"id": execution_id, "workflow": workflow_id}
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((NoAnswer, NotSent)),
            wait=wait_random_exponential(multiplier=0.2, max=5.0),
            stop=stop_after_attempt(_CANCEL_TRIES),
            reraise=True,
        ):
            with attempt:
                answer = await self._post(url, execution_id, body, timeout=_CANCEL_TIMEOUT)
                if answer.status >= _SERVER_ERROR:
                    raise NoAnswer(answer.shown)
                return answer
        raise AssertionError("unreachable: reraise is set")

    async def _post(self, url: URL, execution_id: str, body: Any, *, timeout: timedelta | None = None) -> Answer:
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": execution_id,
            "X-Orchestrator-Engine": "v1",
        } | self._token.headers()
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        total = None if timeout is None else timeout.total_seconds()
        limits = aiohttp.ClientTimeout(total=total, sock_connect=_CONNECT_SECONDS)
        try:
            response = await self._client.post(
                url, headers=headers, data=content, allow_redirects=False, timeout=limits
            )
            try:
                output = await output_of(response, LARGEST)
            finally:
                response.close()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(_told(url, error)) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NoAnswer(_told(url, error)) from error
        parsed = MASKS.json(output["body"])
        return Answer(response.status, parsed, _shown(response, parsed))


def _shown(response: aiohttp.ClientResponse, parsed: Any) -> str:
    text = f"{shown(response.method, response.url)} answered {response.status}"
    if response.status in _REDIRECTS and (location := response.headers.get("Location")):
        try:
            text += f", to be sent to {shown('', URL(location)).strip()}; no redirect is followed"
        except ValueError:
            text += "; no redirect is followed"
    said = parsed if isinstance(parsed, str) else json.dumps(parsed, ensure_ascii=False) if parsed else ""
    excerpt = " ".join(said.split())[:_EXCERPT]
    return MASKS.text(f"{text}: {excerpt}" if excerpt else text)


def _told(url: URL, error: Exception) -> str:
    return MASKS.text(f"{shown('POST', url)}: {str(error) or type(error).__name__}")


def _authority(url: URL) -> str:
    host = url.raw_host or ""
    entry = f"[{host}]:{url.port}" if ":" in host else f"{host}:{url.port}"
    try:
        AllowList.parse(entry)
    except InvalidInput:
        raise InvalidInput([Problem("ORCHESTRATOR_V1_URL", f"{host!r} is no host name or address")]) from None
    return entry
