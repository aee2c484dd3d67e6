"""`http`: one request; its output is `{status, headers, body}`.

The request carries the step's idempotency key in the header `Idempotency-Key`, the same for every attempt: a service
that honours it takes effect once, however often it is asked.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import httpx
from pydantic import AfterValidator, Field

from orchestrator.errors import StepError
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.base import NodeType, OrExpression, StepContext, With
from orchestrator.nodes.http_answer import output_of, read, shown, unexpected
from orchestrator.nodes.http_client import open_client

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_REDIRECTS = 5
_TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")  # RFC 9110, 5.6.2
_OURS = {
    "idempotency-key": "the engine sends the step's own key, the same for every attempt",
    "x-orchestrator-engine": "the engine sends it",
    "accept-encoding": "answers are read uncompressed",
    **dict.fromkeys(("host", "content-length", "transfer-encoding", "connection"), "the client sends it"),
}
_KEPT_ACROSS_HOSTS = frozenset({"accept", "accept-language", "content-type"})


def _url(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"is no URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must begin with http:// or https:// and name a host")
    if url.userinfo:
        raise ValueError("must not contain a user or a password; send them in a header")
    return text


def _header_name(name: str) -> str:
    if not _TOKEN.match(name):
        raise ValueError("is no header name")
    if reason := _OURS.get(name.lower()):
        raise ValueError(f"this header cannot be set: {reason}")
    return name


def _scalar(value: Any) -> Any:
    if isinstance(value, str) and any(character in value for character in "\r\n\x00"):
        raise ValueError("must not contain a line break or a NUL")
    if not isinstance(value, str | int | float):
        raise ValueError("must be text, a number or true/false")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


def _scalars(value: Any) -> Any:
    for one in _many(value):
        _scalar(one)
    return value


HeaderName = Annotated[str, AfterValidator(_header_name)]
Scalar = Annotated[Any, AfterValidator(_scalar), OrExpression]
Scalars = Annotated[Any, AfterValidator(_scalars), OrExpression]  # one, or a list of them
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Code = Annotated[int, Field(ge=100, le=599), OrExpression]


class HttpWith(With):
    """One request, and which answers are good ones."""

    method: Annotated[Method, OrExpression] = Field(default="GET", description="The request's method.")
    url: Annotated[str, AfterValidator(_url), OrExpression] = Field(description="Where to: http:// or https://.")
    headers: Annotated[dict[HeaderName, Scalar], OrExpression] = Field(
        default_factory=dict, description="The request's headers."
    )
    query: Annotated[dict[str, Scalars], OrExpression] = Field(
        default_factory=dict, description="Added to the URL's query."
    )
    body: Any = Field(
        default=None,
        description="Sent as JSON; text with a Content-Type of its own is sent as it is; null sends nothing.",
    )
    expect: Annotated[list[Code], Field(min_length=1), OrExpression] | None = Field(
        default=None, description="The status codes that are good; by default any from 200 to 299."
    )

    def expects(self, status: int) -> bool:
        return status in self.expect if self.expect is not None else 200 <= status < 300  # noqa: PLR2004 - "2xx"


class HttpNode(NodeType[HttpWith]):
    """Sends requests through one client, which the first of them opens."""

    name: ClassVar[str] = "http"
    With = HttpWith

    def __init__(self, allowed: AllowList | None = None) -> None:
        self._allowed = allowed or AllowList()
        self._client: httpx.AsyncClient | None = None

    async def run(self, with_: Mapping[str, Any], context: StepContext) -> Any:
        parsed = self.parse(with_)
        if self._client is None:
            self._client = open_client(self._allowed)
        try:
            response = await _send(self._client, _request(self._client, parsed, context), parsed)
            try:
                body = await read(response)
            finally:
                await response.aclose()
        except httpx.TimeoutException as error:
            raise StepError("Timeout", _told(parsed, error), retryable=True) from error
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
            raise StepError("InvalidWith", _told(parsed, error), retryable=False) from error
        except (httpx.TransportError, OSError) as error:
            raise StepError("ConnectionError", _told(parsed, error), retryable=True) from error
        if not parsed.expects(response.status_code):
            raise unexpected(response, body)
        return output_of(response, body)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _request(client: httpx.AsyncClient, with_: HttpWith, context: StepContext) -> httpx.Request:
    headers = {name: _text(value) for name, value in with_.headers.items()}
    headers["Idempotency-Key"] = context.idempotency_key
    headers["X-Orchestrator-Engine"] = context.engine.value
    content: bytes | None = None
    if with_.body is not None:
        own_type = any(name.lower() == "content-type" for name in headers)
        if not own_type:
            headers["Content-Type"] = "application/json"
        if isinstance(with_.body, str) and own_type:
            content = with_.body.encode()
        else:
            content = json.dumps(with_.body, ensure_ascii=False, separators=(",", ":")).encode()
    url = httpx.URL(with_.url)
    if with_.query:
        pairs = [(key, _text(one)) for key, value in with_.query.items() for one in _many(value)]
        url = url.copy_with(params=httpx.QueryParams([*url.params.multi_items(), *pairs]))
    # Header values beyond ASCII are sent as UTF-8: httpx would refuse them with an error of its own.
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return client.build_request(with_.method, url, headers=raw, content=content)


async def _send(client: httpx.AsyncClient, request: httpx.Request, with_: HttpWith) -> httpx.Response:
    """The answer to a request, its redirects followed unless the author expects just this status."""
    for _ in range(MAX_REDIRECTS + 1):
        response = await client.send(request, stream=True)
        following = response.next_request
        if following is None or with_.expects(response.status_code):
            return response
        await response.aclose()
        if _origin(following.url) != _origin(request.url):
            # The author's headers, credentials above all, were meant for the first host.
            for name in {name.lower() for name in with_.headers} - _KEPT_ACROSS_HOSTS:
                following.headers.pop(name, None)
        request = following
    raise StepError("TooManyRedirects", f"{shown(request)} and {MAX_REDIRECTS} more redirects", retryable=False)


def _told(with_: HttpWith, error: Exception) -> str:
    url = httpx.URL(with_.url).copy_with(query=None, fragment=None)
    return f"{with_.method} {url}: {error or type(error).__name__}"


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
