"""Prometheus, as much of it as judging needs: instant queries and raw samples, every answer checked.

    PrometheusError               `reason` is one CamelCase word, for conditions
    ├── PrometheusUnreachable     no answer in time, or 5xx
    ├── PrometheusRefused         the query is wrong, or is not allowed
    ├── PrometheusUnexpected      an answer that is none of the API's: HTML of a proxy, a redirect, another type …
    ├── PrometheusPartial         an answer with warnings: something may be missing from it
    ├── PrometheusTooMuch         more series or bytes than a criterion can sensibly have
    └── PrometheusNotConfigured   the operator's settings name no Prometheus

Whoever asks turns these into blindness: an error here is no number, neither good nor bad.
"""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx

from orchestrator.errors import OrchestratorError
from orchestrator_operator.rollout.reading.promql import Sample, Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime, timedelta

MOST_SERIES = 5_000  # an answer of more is a selector that forgot something
MOST_BYTES = 8 * 1024 * 1024  # about 300,000 raw samples
_SHOWN = 300  # characters of a server's own words
_LONGEST = 1_000  # characters of a message: it goes into the status, the log of decisions and an Event

_asked: ContextVar[list[str] | None] = ContextVar("asked", default=None)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Every expression that this task, and those that it starts, ask from now on, in a list that grows."""
    heard: list[str] = []
    token = _asked.set(heard)
    try:
        yield heard
    finally:
        _asked.reset(token)


class PrometheusError(OrchestratorError):
    """A query has no usable answer. A server's words in `message` are made fit to be kept and shown."""

    reason = "PrometheusError"

    def __init__(self, message: str) -> None:
        super().__init__(_clean(message, _LONGEST))


class PrometheusUnreachable(PrometheusError):
    """No answer in time, or a server error."""

    reason = "PrometheusUnreachable"


class PrometheusRefused(PrometheusError):
    """The query is wrong, or is not allowed: the same one will not succeed."""

    reason = "QueryRefused"


class PrometheusUnexpected(PrometheusError):
    """What answered is not Prometheus' API, or answered in a shape that a number cannot be taken from."""

    reason = "UnexpectedAnswer"


class PrometheusPartial(PrometheusError):
    """The answer came with warnings: something may be missing from it."""

    reason = "PartialAnswer"


class PrometheusTooMuch(PrometheusError):
    """The answer has more series or bytes than a criterion can sensibly have."""

    reason = "TooManySeries"


class PrometheusNotConfigured(PrometheusError):
    """The operator does not know a Prometheus."""

    reason = "NoPrometheus"


class Prometheus:
    """A client of one server. `url` may have a path and credentials; "" means that there is none.

    `timeout` is short (seconds): while an answer is waited for, a flag that a person cleared waits too.
    """

    def __init__(self, url: str, *, timeout: float = 3.0, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url, self._timeout = url.rstrip("/"), timeout
        # trust_env: a proxy for the outside world is not the way to a server inside the cluster. No redirects: they
        # would take the credentials elsewhere. No compression: what comes is as large as it says.
        self._client = httpx.AsyncClient(
            timeout=timeout, trust_env=False, transport=transport, headers={"Accept-Encoding": "identity"}
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def query(self, expression: str, *, at: datetime | None = None) -> tuple[Sample, ...]:
        """All samples of an instant query, at the server's own now unless `at` is given; a scalar has no labels.

        An empty answer is a good answer: what its absence means, only the caller knows. A sample may be NaN or
        infinite. Raises PrometheusError.
        """
        moment = {} if at is None else {"time": f"{at.timestamp():.3f}"}
        answer = await self._ask({"query": expression} | moment, expression)
        try:
            return _samples(answer["resultType"], answer["result"])
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise PrometheusUnexpected(f"`{expression}` gave no instant vector or scalar: {error}") from error

    async def series(self, selector: str, *, until: datetime, window: timedelta) -> tuple[Series, ...]:
        """The raw samples of a vector selector's series in the window (until - window, until], oldest first.

        Every sample is finite. Raises PrometheusError.
        """
        expression = f"{selector}[{max(1, round(window.total_seconds() * 1000))}ms]"
        answer = await self._ask({"query": expression, "time": f"{until.timestamp():.3f}"}, expression)
        try:
            return _matrix(answer["resultType"], answer["result"])
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise PrometheusUnexpected(f"`{expression}` gave no counter's samples: {error}") from error

    async def _ask(self, data: Mapping[str, str], expression: str) -> Any:
        """The `data` of a successful answer, with no more series than are allowed."""
        if not self._url:
            raise PrometheusNotConfigured("no Prometheus is configured: set ORCHESTRATOR_PROMETHEUS to its address")
        if (heard := _asked.get()) is not None:
            heard.append(expression)
        try:
            # httpx's own limit is one for each read, not for the whole
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", f"{self._url}/api/v1/query", data=data) as response,
            ):
                body = await self._body(response)
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise PrometheusUnreachable(f"Prometheus does not answer at {self._shown}: {error!r}") from error
        if response.is_redirect:
            raise PrometheusUnexpected(
                f"what answers at {self._shown} redirects (HTTP {response.status_code}): "
                "set ORCHESTRATOR_PROMETHEUS to the address that it leads to"
            )
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise PrometheusUnreachable(f"Prometheus at {self._shown}: HTTP {response.status_code}: {_words(body)}")
        return self._data(response, body, expression)

    async def _body(self, response: httpx.Response) -> bytes:
        if (coding := response.headers.get("Content-Encoding", "identity")) != "identity":
            raise PrometheusUnexpected(f"what answers at {self._shown} compresses ({coding}) although asked not to")
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise PrometheusTooMuch(
                    f"Prometheus answers with more than {MOST_BYTES // 1024 // 1024} MiB: name fewer series"
                )
        return bytes(body)

    def _data(self, response: httpx.Response, body: bytes, expression: str) -> Any:
        try:
            answer = json.loads(body)
            status, data = answer["status"], answer.get("data")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise PrometheusUnexpected(
                f"what answers at {self._shown} is no Prometheus (HTTP {response.status_code}): {_words(body)}"
            ) from error
        if status != "success" or not response.is_success:
            raise PrometheusRefused(f"Prometheus refused `{expression}`: {_clean(answer.get('error', ''))}")
        if warnings := answer.get("warnings"):
            raise PrometheusPartial(f"Prometheus warns about `{expression}`: {_clean(warnings)}")
        result = data.get("result") if isinstance(data, dict) else None
        if not isinstance(result, list):
            raise PrometheusUnexpected(f"`{expression}` gave no result")
        if len(result) > MOST_SERIES:
            raise PrometheusTooMuch(f"`{expression}` gave {len(result)} series, at most {MOST_SERIES} are read")
        return data

    @property
    def _shown(self) -> str:
        """The address without credentials."""
        return str(httpx.URL(self._url).copy_with(userinfo=b"")) if "@" in self._url else self._url


def _samples(kind: str, result: Any) -> tuple[Sample, ...]:
    if kind == "scalar":
        return (Sample({}, float(result[1])),)
    if kind == "vector":
        return tuple(Sample(_labels(item), float(item["value"][1])) for item in result)
    raise ValueError(f"it is a {kind!r}")


def _matrix(kind: str, result: Any) -> tuple[Series, ...]:
    if kind != "matrix":
        raise ValueError(f"it is a {kind!r}")
    return tuple(_one_series(item) for item in result)


def _one_series(item: Mapping[str, Any]) -> Series:
    samples = tuple((float(at), float(value)) for at, value in item["values"])
    if not all(math.isfinite(at) and math.isfinite(value) for at, value in samples):
        raise ValueError(f"a sample of {item['metric']} is no number")
    if any(later[0] <= sooner[0] for sooner, later in pairwise(samples)):
        raise ValueError(f"the samples of {item['metric']} are in disorder")
    return Series(_labels(item), samples)


def _labels(item: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in item["metric"].items() if name != "__name__"}


def _words(body: bytes) -> str:
    return _clean(body[: 4 * _SHOWN].decode(errors="replace"))


def _clean(said: Any, longest: int = _SHOWN) -> str:
    """In one line, without what databases and API servers refuse (NUL, half a surrogate pair), and not too long."""
    text = " ".join(str(said)[: 4 * longest].split())
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
