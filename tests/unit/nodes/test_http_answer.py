from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from multidict import CIMultiDict

from orchestrator.nodes.http_answer import retry_after
from tests.support.services import failure

if TYPE_CHECKING:
    from orchestrator.nodes.base import StepContext
    from orchestrator.nodes.http import HttpNode
    from tests.support.services import Service

NOW = datetime(2026, 11, 6, 8, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"retry-after": " 0 "}, 0),
        ({"Retry-After": "86401"}, 86400),
        ({"Retry-After": "9" * 5000}, 86400),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "Fri, 06 Nov 2026 08:00:30 GMT"}, 30),
        ({"Retry-After": "Friday, 06-Nov-26 08:00:30 GMT"}, 30),  # the old forms, RFC 9110, 5.6.7
        ({"Retry-After": "Fri Nov  6 08:00:30 2026"}, 30),
        ({"Retry-After": "Fri, 06 Nov 2026 07:00:00 GMT"}, 0),
        ({"Retry-After": "Fri, 06 Nov 2099 07:00:00 GMT"}, 86400),
        ({"Retry-After": "Fri, 99 Nov 2026 08:00:30 GMT"}, None),
        ({"Retry-After": "Fri, 06 Nov 12345 08:00:30 GMT"}, None),
        # The service's clock is an hour ahead: what it says counts from its own date.
        ({"Retry-After": "Fri, 06 Nov 2026 09:00:30 GMT", "Date": "Fri, 06 Nov 2026 09:00:00 GMT"}, 30),
        ({"Retry-After": "Fri, 06 Nov 2026 08:00:30 GMT", "Date": "once"}, 30),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert retry_after(CIMultiDict(headers), NOW) == expected


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_retryable_status_says_how_long_to_stay_away(
    http: HttpNode, service: Service, context: StepContext, status: int
) -> None:
    url = service.answer("/x", lambda _: web.Response(status=status, headers={"Retry-After": "7"}))
    error = await failure(http.run({"url": url}, context))
    assert (error.status, error.retry_after, error.retryable) == (status, timedelta(seconds=7), True)


async def test_a_status_that_is_not_retried_says_nothing_of_when(
    http: HttpNode, service: Service, context: StepContext
) -> None:
    url = service.answer("/x", lambda _: web.Response(status=404, headers={"Retry-After": "7"}))
    error = await failure(http.run({"url": url}, context))
    assert (error.status, error.retry_after, error.retryable) == (404, None, False)


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
async def test_an_errors_body_does_not_hide_its_status(
    http: HttpNode, service: Service, context: StepContext, headers: dict[str, str]
) -> None:
    large = {"body": b"x" * (2 << 20), "status": 503, "headers": {"Retry-After": "7", **headers}}
    error = await failure(http.run({"url": service.answer("/x", lambda _: web.Response(**large))}, context))
    assert (error.kind, error.status, error.retryable) == ("HttpStatus", 503, True)
    assert error.retry_after == timedelta(seconds=7)


async def test_headers_of_one_name_are_one_list(http: HttpNode, service: Service, context: StepContext) -> None:
    headers = CIMultiDict([("Link", "<a>"), ("Link", "<b>")])
    url = service.answer("/x", lambda _: web.Response(headers=headers))
    assert (await http.run({"url": url}, context))["headers"]["link"] == "<a>, <b>"


async def test_an_answer_without_a_body_may_name_an_encoding(
    http: HttpNode, service: Service, context: StepContext
) -> None:
    url = service.answer("/x", lambda _: web.Response(headers={"Content-Encoding": "gzip"}))
    assert (await http.run({"url": url, "method": "HEAD"}, context))["body"] is None
