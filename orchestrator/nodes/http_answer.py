"""What an `http` node makes of an answer: a bounded body, a few headers, or the error that it is."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import aiohttp

from orchestrator.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yarl import URL

    from orchestrator.masks import Masks

LONGEST_RETRY_AFTER = timedelta(hours=24)
_MAX_HEADERS = 8192  # characters of the answer's headers that the output keeps
_EXCERPT = 200  # characters of an answer's body that an error quotes
_READ_FOR_EXCERPT = 64 * 1024  # bytes: more than the largest secret, so that none is quoted in part
_RETRYABLE = frozenset({408, 429}) | frozenset(range(500, 600))
_SECONDS = re.compile(r"[0-9]+")


async def output_of(response: aiohttp.ClientResponse, limit: int) -> dict[str, Any]:
    """`{status, headers, body}`; raises StepError for a body that is too large or compressed all the same."""
    body = await _read(response, limit)
    if len(body) > limit:
        message = f"{shown(response.method, response.url)} answered with more than {limit} bytes; ask for less"
        raise StepError("ResponseTooLarge", message, retryable=False)
    encoding = _encoding(response)
    if encoding and body:
        message = f"{shown(response.method, response.url)} answered in {encoding!r}, and only plain answers are read"
        raise StepError("UnsupportedEncoding", message, retryable=False)
    return {"status": response.status, "headers": _headers(response), "body": _parse(response, body)}


async def unexpected(response: aiohttp.ClientResponse, masks: Masks, now: datetime) -> StepError:
    """The error that an answer of a status nobody expects is, with what the service says about another try."""
    retryable = response.status in _RETRYABLE
    excerpt = await _excerpt(response, masks)
    message = f"{shown(response.method, response.url)} answered {response.status}" + (f": {excerpt}" if excerpt else "")
    wait = retry_after(response.headers, now) if retryable else None
    return StepError("HttpStatus", message, retryable=retryable, status=response.status, retry_after=wait)


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long an answer asks to be left alone, at most 24 hours; None if it does not say, or not so that one knows.

    `Retry-After` is seconds or a date (RFC 9110, 10.2.3). A date counts from the answer's own `Date`, since the two
    machines' clocks may differ, or else from `now`.
    """
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        seconds = int(text[:10])  # ten digits are three hundred years: the cap holds whatever the rest is
        return min(timedelta(seconds=seconds), LONGEST_RETRY_AFTER)
    until = _date(text)
    if until is None:
        return None
    return min(max(until - (_date(headers.get("Date", "")) or now), timedelta(0)), LONGEST_RETRY_AFTER)


def shown(method: str, url: URL) -> str:
    """A request for a message; without its query, where credentials may stand."""
    return f"{method} {url.with_query(None).with_fragment(None).with_user(None)}"


def _date(text: str) -> datetime | None:
    """One of the three forms of an HTTP date (RFC 9110, 5.6.7)."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, or its beginning: at least a byte more than the limit if it is longer."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            break
    return b"".join(chunks)


async def _excerpt(response: aiohttp.ClientResponse, masks: Masks) -> str:
    """What an error quotes of its answer. Masked before it is cut: half of a secret would be found by nobody."""
    if _encoding(response):
        return ""
    try:
        body = await _read(response, _READ_FOR_EXCERPT)
    except aiohttp.ClientError:  # the status alone says enough
        return ""
    return " ".join(masks.text(_decode(response, body))[: 4 * _EXCERPT].split())[:_EXCERPT]


def _encoding(response: aiohttp.ClientResponse) -> str:
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


def _parse(response: aiohttp.ClientResponse, body: bytes) -> Any:
    """JSON if it says so and is, null if it is empty, else text."""
    if not body:
        return None
    media_type = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        try:
            return json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):  # it says JSON and is none: the author sees the text
            pass
    return _decode(response, body)


def _decode(response: aiohttp.ClientResponse, body: bytes) -> str:
    try:
        text = body.decode(response.charset or "utf-8", errors="replace")
    except (LookupError, UnicodeError):  # the answer names an encoding that nobody knows, or one that is strict
        text = body.decode(errors="replace")
    return text.replace("\x00", "\ufffd")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """The answer's headers in lower case, as many as fit; cookies are credentials and belong into no history."""
    kept: dict[str, str] = {}
    room = _MAX_HEADERS
    for name, text in response.headers.items():
        # The client keeps bytes that are no UTF-8 as lone surrogates, which no store takes.
        value = text.encode(errors="surrogateescape").decode(errors="replace").replace("\x00", "\ufffd")
        room -= len(name) + len(value)
        if room >= 0 and name.lower() != "set-cookie":
            key = name.lower()
            kept[key] = f"{kept[key]}, {value}" if key in kept else value
    return kept
