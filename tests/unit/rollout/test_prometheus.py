"""The client: every answer is checked, and what is no number is an error with a reason."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.adapters.prometheus import (
    MOST_BYTES,
    MOST_SERIES,
    Prometheus,
    PrometheusError,
    PrometheusNotConfigured,
    PrometheusPartial,
    PrometheusRefused,
    PrometheusTooMuch,
    PrometheusUnexpected,
    PrometheusUnreachable,
)
from orchestrator_operator.rollout.reading.promql import Sample, Series, selector

from tests.support.prometheus import vector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def ask(answer: Callable[[httpx.Request], httpx.Response], url: str = "http://prometheus:9090/base/") -> Any:
    client = Prometheus(url, transport=httpx.MockTransport(answer))
    try:
        return await client.query("up")
    finally:
        await client.aclose()


def success(kind: str, result: Any, **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": "success", "data": {"resultType": kind, "result": result}, **more})


async def test_a_vector_comes_as_samples_without_the_metric_s_name() -> None:
    samples = await ask(lambda _: vector([({"__name__": "up", "engine": "v2"}, 3)]))
    assert samples == (Sample({"engine": "v2"}, 3.0),)


async def test_a_scalar_is_one_sample_without_labels() -> None:
    assert await ask(lambda _: success("scalar", [1.0, "0.5"])) == (Sample({}, 0.5),)


async def test_nothing_is_an_answer() -> None:
    assert await ask(lambda _: vector([])) == ()


async def test_the_query_goes_to_the_api_below_the_configured_path() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return vector([])

    await ask(answer)
    assert str(seen[0].url) == "http://prometheus:9090/base/api/v1/query"
    assert seen[0].content == b"query=up"


async def test_infos_are_no_warnings() -> None:
    assert await ask(lambda _: vector([], infos=["metric might not be a counter"])) == ()


async def test_a_partial_answer_is_refused() -> None:
    with pytest.raises(PrometheusPartial, match="remote read"):
        await ask(lambda _: vector([({}, 1)], warnings=["remote read: some series are missing"]))


async def test_a_wrong_query_is_refused_in_the_server_s_words() -> None:
    body = {"status": "error", "errorType": "bad_data", "error": "parse error at char 3"}
    with pytest.raises(PrometheusRefused, match="parse error at char 3"):
        await ask(lambda _: httpx.Response(400, json=body))


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text="<html>login</html>"),
        httpx.Response(200, json=[1, 2]),
        httpx.Response(200, json={"data": {}}),
        success("matrix", []),
        success("vector", [{"metric": {}, "value": [1.0, "one"]}]),
        success("vector", [{"metric": {}}]),
        success("vector", [7]),
        httpx.Response(200, json={"status": "success", "data": None}),
        httpx.Response(404, text="not found"),
    ],
)
async def test_what_is_not_the_api_s_shape_is_said_to_be_unexpected(response: httpx.Response) -> None:
    with pytest.raises(PrometheusUnexpected):
        await ask(lambda _: response)


async def test_a_server_error_is_unreachable() -> None:
    with pytest.raises(PrometheusUnreachable, match="503"):
        await ask(lambda _: httpx.Response(503, text="starting up"))


async def test_no_connection_is_unreachable() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(PrometheusUnreachable, match="refused"):
        await ask(refuse)


async def test_a_server_that_never_answers_is_given_up() -> None:
    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

    client = Prometheus("http://prometheus", timeout=0.01, transport=Silent())
    with pytest.raises(PrometheusUnreachable):
        await client.query("up")
    await client.aclose()


async def test_no_password_is_ever_shown() -> None:
    with pytest.raises(PrometheusError) as caught:
        await ask(lambda _: httpx.Response(503), url="http://user:canary@prometheus")
    assert "canary" not in str(caught.value)


async def test_without_an_address_the_setting_is_named() -> None:
    with pytest.raises(PrometheusNotConfigured, match="ORCHESTRATOR_PROMETHEUS"):
        await ask(lambda _: vector([]), url="")


# -- raw samples

UNTIL = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


async def raw(answer: Callable[[httpx.Request], httpx.Response]) -> Any:
    client = Prometheus("http://prometheus", transport=httpx.MockTransport(answer))
    try:
        return await client.series('a{b="c"}', until=UNTIL, window=timedelta(minutes=5))
    finally:
        await client.aclose()


def matrix(*values: Any) -> httpx.Response:
    return success("matrix", [{"metric": {"__name__": "a", "b": "c"}, "values": list(values)}])


async def test_raw_samples_are_asked_for_in_a_window_that_ends_at_a_moment() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return success("matrix", [])

    assert await raw(answer) == ()
    assert parse_qs(seen[0].content.decode()) == {"query": ['a{b="c"}[300000ms]'], "time": [f"{UNTIL.timestamp():.3f}"]}


async def test_raw_samples_come_series_by_series() -> None:
    assert await raw(lambda _: matrix([1.5, "3"], [16.5, "4.5"])) == (Series({"b": "c"}, ((1.5, 3.0), (16.5, 4.5))),)


@pytest.mark.parametrize(
    "response",
    [
        matrix([1.0, "NaN"]),
        matrix([1.0, "+Inf"]),
        matrix([1.0, "one"]),
        matrix([1.0]),
        matrix([2.0, "1"], [1.0, "2"]),
        matrix([1.0, "1"], [1.0, "2"]),
        vector([({}, 1)]),
        success("matrix", [{"metric": {}, "histograms": []}]),
        success("matrix", {"metric": {}}),
        success("matrix", None),
    ],
)
async def test_what_is_no_counter_s_samples_is_unexpected(response: httpx.Response) -> None:
    with pytest.raises(PrometheusUnexpected):
        await raw(lambda _: response)


# -- whatever may stand at the configured address


async def at_a_server(answer: Callable[[asyncio.StreamWriter], Awaitable[None]], timeout: float = 5.0) -> Any:
    """What the client makes of a real server that answers so, once it has read the request."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        await reader.readexactly(int(length[1]))
        with suppress(ConnectionError):
            await answer(writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    client = Prometheus(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=timeout)
    try:
        return await client.query("up")
    finally:
        await client.aclose()
        server.close()


def page(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def says(data: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


GOOD = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"2"]}]}}'


async def test_a_server_that_behaves_is_understood() -> None:
    assert await at_a_server(says(page(GOOD))) == (Sample({}, 2.0),)


async def test_a_server_that_accepts_and_stays_silent_is_unreachable() -> None:
    async def answer(_: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    with pytest.raises(PrometheusUnreachable):
        await at_a_server(answer, timeout=0.05)


async def test_a_server_that_drips_is_unreachable_although_every_read_succeeds() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.001)

    with pytest.raises(PrometheusUnreachable):
        await at_a_server(answer, timeout=0.1)


async def test_an_answer_without_an_end_is_not_read_to_its_end() -> None:
    written = 0

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while written < 8 * MOST_BYTES:
            writer.write(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
            written += 0x100000
            await writer.drain()

    with pytest.raises(PrometheusTooMuch, match="8 MiB"):
        await at_a_server(answer)
    assert written < 4 * MOST_BYTES


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (page(GOOD)[:-20], PrometheusUnreachable, "does not answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", PrometheusUnreachable, "does not answer"),
        (b"", PrometheusUnreachable, "does not answer"),
        (page(b"", "302 Found", "Location: http://127.0.0.1:1/"), PrometheusUnexpected, "redirects"),
        (page(GOOD, "308 Permanent Redirect", "Location: /"), PrometheusUnexpected, "redirects"),
        (page(gzip.compress(GOOD), "200 OK", "Content-Encoding: gzip"), PrometheusUnexpected, "compresses"),
        (page(b"[" * 200_000), PrometheusUnexpected, "is no Prometheus"),
        (page(b'{"status":' + b"9" * 5000 + b"}"), PrometheusUnexpected, "is no Prometheus"),
        (page(b"\xff\xfe"), PrometheusUnexpected, "is no Prometheus"),
        (page(b'{"status":"error","errorType":"timeout","error":"too slow"}'), PrometheusRefused, "too slow"),
        (page(b'{"status":"success"}'), PrometheusUnexpected, "no result"),
        (page(GOOD[:-1] + b',"warnings":["half is missing"]}'), PrometheusPartial, "half is missing"),
        (page(b"<html>loading</html>", "503 Service Unavailable"), PrometheusUnreachable, "loading"),
    ],
)
async def test_whatever_answers_is_no_number(answer: bytes, error: type[PrometheusError], words: str) -> None:
    with pytest.raises(error, match=words):
        await at_a_server(says(answer))


@given(st.text(st.characters(), max_size=400) | st.just("x" * 5_000))
def test_a_server_s_words_can_be_kept_and_shown_whatever_they_are(words: str) -> None:
    """By a database (no NUL), as UTF-8 (no half of a surrogate pair), in a status (not too long)."""
    body = {"status": "error", "error": words}
    with pytest.raises(PrometheusRefused) as caught:
        asyncio.run(ask(lambda _: httpx.Response(400, content=json.dumps(body))))
    message = str(caught.value)
    assert message.isprintable()
    assert message.encode().decode() == message
    assert len(message) <= 1_000


async def test_a_value_of_a_megabyte_is_not_repeated() -> None:
    with pytest.raises(PrometheusUnexpected) as caught:
        await ask(lambda _: vector([({}, "x" * 1_000_000)]))
    assert len(str(caught.value)) <= 1_000


async def test_a_selector_that_forgot_something_is_refused() -> None:
    with pytest.raises(PrometheusTooMuch, match="5001 series"):
        await ask(lambda _: vector([({"pod": str(number)}, 1) for number in range(MOST_SERIES + 1)]))


async def test_as_many_series_as_are_allowed_are_read() -> None:
    assert len(await ask(lambda _: vector([({"pod": str(number)}, 1) for number in range(MOST_SERIES)]))) == MOST_SERIES


def test_label_values_are_escaped() -> None:
    assert selector("m", {"a": 'x"} or vector(1) #', "b": "\\\n"}) == 'm{a="x\\"} or vector(1) #",b="\\\\\\n"}'


@given(st.text())
def test_no_value_can_end_its_quotes(value: str) -> None:
    inner = selector("m", {"a": value})[len('m{a="') : -len('"}')]
    assert "\n" not in inner
    assert '"' not in inner.replace("\\\\", "").replace('\\"', "")


def test_what_can_be_no_label_is_refused() -> None:
    with pytest.raises(ValueError, match="no label"):
        selector("m", {'a="1",b': "x"})
