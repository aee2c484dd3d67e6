"""Prometheus, as much of it as judging needs: instant queries whose every answer is checked.

    PrometheusError               `reason` is one CamelCase word, for conditions
    ├── PrometheusUnreachable     no answer in time, or 5xx
    ├── PrometheusRefused         the query is wrong, or is not allowed
    ├── PrometheusUnexpected      an answer that is none of the API's: HTML of a proxy, a matrix …
    ├── PrometheusPartial         an answer with warnings: something may be missing from it
    └── PrometheusNotConfigured   the operator's settings name no Prometheus

Whoever asks turns these into blindness: an error here is no number, neither good nor bad.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpx

from orchestrator.errors import OrchestratorError
from orchestrator_operator.rollout.promql import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SHOWN = 300  # characters of a server's own words

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
    """A query has no usable answer."""

    reason = "PrometheusError"


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


class PrometheusNotConfigured(PrometheusError):
    """The operator does not know a Prometheus."""

    reason = "NoPrometheus"


class Prometheus:
    """A client of one server. `url` may have a path and credentials; "" means that there is none.

    `timeout` is short (seconds): while an answer is waited for, a flag that a person cleared waits too.
    """

    def __init__(self, url: str, *, timeout: float = 3.0, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url, self._timeout = url.rstrip("/"), timeout
        # trust_env: a proxy for the outside world is not the way to a server inside the cluster
        self._client = httpx.AsyncClient(timeout=timeout, trust_env=False, transport=transport)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def query(self, expression: str) -> tuple[Sample, ...]:
        """All samples of an instant query at the server's own now; a scalar is one sample without labels.

        An empty answer is a good answer: what its absence means, only the caller knows. Raises PrometheusError.
        """
        if not self._url:
            raise PrometheusNotConfigured("no Prometheus is configured: set ORCHESTRATOR_PROMETHEUS to its address")
        if (heard := _asked.get()) is not None:
            heard.append(expression)
        try:
            async with asyncio.timeout(self._timeout):  # httpx's own limit is one for each read, not for the whole
                response = await self._client.post(f"{self._url}/api/v1/query", data={"query": expression})
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise PrometheusUnreachable(f"Prometheus does not answer at {self._shown}: {error!r}") from error
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise PrometheusUnreachable(f"Prometheus at {self._shown}: HTTP {response.status_code}: {_words(response)}")
        return self._samples(response, expression)

    def _samples(self, response: httpx.Response, expression: str) -> tuple[Sample, ...]:
        try:
            answer = response.json()
            status = answer["status"]
        except (ValueError, TypeError, KeyError) as error:
            raise PrometheusUnexpected(
                f"what answers at {self._shown} is no Prometheus (HTTP {response.status_code}): {_words(response)}"
            ) from error
        if status != "success" or not response.is_success:
            raise PrometheusRefused(f"Prometheus refused `{expression}`: {str(answer.get('error', ''))[:_SHOWN]}")
        if warnings := answer.get("warnings"):
            raise PrometheusPartial(f"Prometheus warns about `{expression}`: {str(warnings)[:_SHOWN]}")
        try:
            return _read(answer["data"]["resultType"], answer["data"]["result"])
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise PrometheusUnexpected(f"`{expression}` gave no instant vector or scalar: {error}") from error

    @property
    def _shown(self) -> str:
        """The address without credentials."""
        return str(httpx.URL(self._url).copy_with(userinfo=b"")) if "@" in self._url else self._url


def _read(kind: str, result: Any) -> tuple[Sample, ...]:
    if kind == "scalar":
        return (Sample({}, float(result[1])),)
    if kind == "vector":
        return tuple(_sample(item) for item in result)
    raise ValueError(f"it is a {kind}")


def _sample(item: Mapping[str, Any]) -> Sample:
    labels = {str(name): str(value) for name, value in item["metric"].items() if name != "__name__"}
    return Sample(labels, float(item["value"][1]))


def _words(response: httpx.Response) -> str:
    return " ".join(response.text.split())[:_SHOWN]
