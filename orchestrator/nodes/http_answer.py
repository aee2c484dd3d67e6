"""What an `http` node makes of an answer: a bounded body, a few headers, or the error that it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator.errors import StepError

if TYPE_CHECKING:
    import httpx

MAX_BODY = 1 << 20  # bytes of an answer
_MAX_HEADERS = 8192  # characters of the answer's headers that the output keeps
_EXCERPT = 200  # characters of an answer's body that an error quotes
_RETRYABLE = frozenset({408, 429}) | frozenset(range(500, 600))


def output_of(response: httpx.Response, body: bytes) -> dict[str, Any]:
    """`{status, headers, body}`."""
    return {"status": response.status_code, "headers": _headers(response), "body": _parse(response, body)}


async def read(response: httpx.Response) -> bytes:
    """The answer's body; raises StepError for one that is too large or compressed all the same."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        message = f"{shown(response.request)} answered in {encoding!r} although only plain answers are accepted"
        raise StepError("UnsupportedEncoding", message, retryable=False)
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > MAX_BODY:
            message = f"{shown(response.request)} answered with more than {MAX_BODY} bytes; ask for less"
            raise StepError("ResponseTooLarge", message, retryable=False)
        chunks.append(chunk)
    return b"".join(chunks)


def _parse(response: httpx.Response, body: bytes) -> Any:
    """JSON if it says so and is, null if it is empty, else text."""
    if not body:
        return None
    media_type = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        try:
            return json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):  # it says JSON and is none: the author sees the text
            pass
    return _decode(response, body)


def _decode(response: httpx.Response, body: bytes) -> str:
    try:
        text = body.decode(response.charset_encoding or "utf-8", errors="replace")
    except (LookupError, UnicodeError):  # the answer names an encoding that nobody knows, or one that is strict
        text = body.decode(errors="replace")
    return text.replace("\x00", "\ufffd")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _headers(response: httpx.Response) -> dict[str, str]:
    """The answer's headers in lower case, as many as fit; cookies are credentials and belong into no history."""
    kept: dict[str, str] = {}
    room = _MAX_HEADERS
    for name, value in response.headers.items():
        room -= len(name) + len(value)
        if room >= 0 and name.lower() != "set-cookie":
            kept[name.lower()] = value.replace("\x00", "\ufffd")
    return kept


def unexpected(response: httpx.Response, body: bytes) -> StepError:
    """The error that an answer of a status nobody expects is."""
    excerpt = " ".join(_decode(response, body[: 4 * _EXCERPT]).split())[:_EXCERPT]
    message = f"{shown(response.request)} answered {response.status_code}" + (f": {excerpt}" if excerpt else "")
    return StepError("HttpStatus", message, retryable=response.status_code in _RETRYABLE)


def shown(request: httpx.Request) -> str:
    """A request for a message; without its query, where credentials may stand."""
    return f"{request.method} {request.url.copy_with(query=None, fragment=None, userinfo=b'')}"
