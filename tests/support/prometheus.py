"""A Prometheus behind HTTP that knows the few queries of the rollout controller."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

import httpx

Series = tuple[dict[str, str], float | str]
RawSeries = tuple[dict[str, str], list[tuple[float, float]]]  # its samples: seconds since 1970, value

_WINDOW = re.compile(r"(.*)\[([0-9]+)ms\]")


class FakePrometheus:
    """Answers `max …` with `counters`, `time() - …` with `age`, `selector[…ms]` from `raw`, else from `answers`."""

    def __init__(self) -> None:
        self.counters: list[Series] = []
        self.age = 1.0
        self.answers: dict[str, list[Series]] = {}
        self.raw: dict[str, list[RawSeries]] = {}  # by selector
        self.closed = False  # a window begins at its left border, as in Prometheus 2, and not behind it
        self.down = False
        self.asked = 0  # how often
        self.queries: list[str] = []

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.down:
            raise httpx.ConnectError("connection refused", request=request)
        form = parse_qs(request.content.decode())
        query = form["query"][0]
        self.queries.append(query)
        if window := _WINDOW.fullmatch(query):
            return self._samples(window[1], float(form["time"][0]), int(window[2]) / 1000)
        if query.startswith("time() - "):
            return vector([({}, self.age)] if self.counters else [])
        if query.startswith("max without"):
            return vector(self.counters)
        return vector(self.answers.get(query, []))

    def _samples(self, selector: str, until: float, seconds: float) -> httpx.Response:
        begin = until - seconds

        def within(moment: float) -> bool:
            return (begin <= moment if self.closed else begin < moment) and moment <= until

        found = [
            (labels, [[moment, repr(value)] for moment, value in samples if within(moment)])
            for labels, samples in self.raw.get(selector, [])
        ]
        result = [{"metric": labels, "values": values} for labels, values in found if values]
        return httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": result}})


def vector(series: list[Series], **more: Any) -> httpx.Response:
    """A successful answer with an instant vector."""
    result = [{"metric": labels, "value": [1.0, str(value)]} for labels, value in series]
    return httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": result}, **more})


def counters(
    percent: str,
    v1: tuple[float, float],
    v2: tuple[float, float],
    criteria: tuple[str, ...] = ("failures", "first-attempt-failures"),
    ages: tuple[str, ...] = ("1m", "10m"),
    **labels: str,
) -> list[Series]:
    """Counters of every criterion and age from (bad, good) of each engine."""
    return [
        (
            {
                "assignment": "execution",
                "criterion": criterion,
                "age": age,
                "percent": percent,
                "engine": engine,
                "outcome": outcome,
                **labels,
            },
            count,
        )
        for criterion in criteria
        for age in ages
        for engine, pair in (("v1", v1), ("v2", v2))
        for outcome, count in zip(("bad", "good"), pair, strict=True)
    ]
