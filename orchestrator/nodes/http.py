"""`http`: one request; its output is `{status, headers, body}`.

The request carries the step's idempotency key in the header `Idempotency-Key`, the same for every attempt: a service
that honours it takes effect once, however often it is asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from orchestrator import tracecontext
from orchestrator.errors import StepError
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.base import NodeType, StepContext
from orchestrator.nodes.http_answer import output_of, shown, unexpected
from orchestrator.nodes.http_auth import credential
from orchestrator.nodes.http_client import open_client
from orchestrator.nodes.http_with import HttpWith, many, parse_url
from orchestrator.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEPT_ACROSS_ORIGINS = frozenset({"accept", "accept-language", "content-type"})
_OF_A_BODY = ("Content-Type", "Content-Language", "Content-Location")


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes | None
    private: frozenset[str] = field(default=frozenset())  # headers, in lower case, that are for the first origin alone


class HttpNode(NodeType[HttpWith]):
    """Sends requests through one client, which the first of them opens."""

    name: ClassVar[str] = "http"
    With = HttpWith

    def __init__(self, allowed: AllowList | None = None, secrets: Secrets | None = None) -> None:
        self._allowed = allowed or AllowList()
        self._secrets = secrets or Secrets()
        self._client: aiohttp.ClientSession | None = None

    async def run(self, with_: Mapping[str, Any], context: StepContext) -> Any:
        parsed = self.parse(with_)
        request = _request(parsed, context, self._secrets)
        if self._client is None:
            self._client = open_client(self._allowed)
        try:
            response = await _send(self._client, request, parsed)
            try:
                if not parsed.expects(response.status):
                    raise await unexpected(response, self._secrets.masks, datetime.now(UTC))
                return await output_of(response, parsed.max_bytes)
            finally:
                response.close()
        except TimeoutError as error:
            raise StepError("Timeout", _told(request, "no connection in time"), retryable=True) from error
        except aiohttp.InvalidURL as error:
            raise StepError("InvalidWith", _told(request, "is no URL that can be asked"), retryable=False) from error
        except aiohttp.ClientResponseError as error:
            broken = f"the answer is no HTTP: {error.message.partition(':')[0]}"
            raise StepError("ConnectionError", _told(request, broken), retryable=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise StepError("ConnectionError", _told(request, str(error)), retryable=True) from error

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def _request(with_: HttpWith, context: StepContext, secrets: Secrets) -> _Request:
    headers: CIMultiDict[str] = CIMultiDict({name: _text(value) for name, value in with_.headers.items()})
    headers["Idempotency-Key"] = context.idempotency_key
    headers["X-Orchestrator-Engine"] = context.engine.value
    if context.trace is not None and tracecontext.TRACEPARENT not in headers:  # an author may have one of their own
        headers.update(tracecontext.headers(context.trace))
    body: bytes | None = None
    if with_.body is not None:
        own_type = "Content-Type" in headers
        if not own_type:
            headers["Content-Type"] = "application/json"
        if isinstance(with_.body, str) and own_type:
            body = with_.body.encode()
        else:
            body = json.dumps(with_.body, ensure_ascii=False, separators=(",", ":")).encode()
    url = parse_url(with_.url).with_fragment(None)
    if with_.query:
        url = url.extend_query([(key, _text(one)) for key, value in with_.query.items() for one in many(value)])
    private = {name.lower() for name in with_.headers} - _KEPT_ACROSS_ORIGINS
    if with_.auth is not None:
        name, value = credential(with_.auth, url, secrets, context.namespace)
        headers[name] = value
        private.add(name.lower())
    return _Request(with_.method, url, headers, body, frozenset(private))


async def _send(client: aiohttp.ClientSession, request: _Request, with_: HttpWith) -> aiohttp.ClientResponse:
    """The answer to a request, its redirects followed unless the author expects just this status."""
    first = request
    for _ in range(with_.max_redirects + 1):
        response = await client.request(
            request.method, request.url, headers=request.headers, data=request.body, allow_redirects=False
        )
        following = None if with_.expects(response.status) else _redirected(request, response)
        if following is None:
            return response
        response.release()
        request = following
    message = f"{shown(first.method, first.url)} is redirected more than {with_.max_redirects} times (maxRedirects)"
    raise StepError("TooManyRedirects", message, retryable=False)


def _redirected(request: _Request, response: aiohttp.ClientResponse) -> _Request | None:
    """The request that an answer asks for instead, as RFC 9110, 15.4 and browsers have it; None if it asks for none."""
    location = response.headers.get("Location", "")
    if response.status not in _REDIRECTS or not location:
        return None
    try:
        url = parse_url(str(request.url.join(URL(location)).with_fragment(None)))
    except ValueError as error:
        message = f"{shown(request.method, request.url)} is redirected to an address that cannot be used: {error}"
        raise StepError("RedirectRefused", message, retryable=False) from None
    headers = request.headers.copy()
    if url.origin() != request.url.origin():
        # The author's headers, credentials above all, were meant for the first host.
        for name in request.private:
            headers.popall(name, None)
    following = replace(request, url=url, headers=headers)
    as_get = response.status == 303 or (response.status in (301, 302) and request.method == "POST")  # noqa: PLR2004 - the codes are the rule
    if not as_get or request.method == "HEAD":
        return following
    for name in _OF_A_BODY:
        headers.popall(name, None)
    return replace(following, method="GET", body=None)


def _told(request: _Request, reason: str) -> str:
    return f"{shown(request.method, request.url)}: {reason}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
