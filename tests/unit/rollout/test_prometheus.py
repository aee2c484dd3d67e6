"""The client: every answer is checked, and what is no number is an error with a reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.adapters.prometheus import (
    Prometheus,
    PrometheusError,
    PrometheusNotConfigured,
    PrometheusPartial,
    PrometheusRefused,
    PrometheusUnexpected,
    PrometheusUnreachable,
)
from orchestrator_operator.rollout.promql import Sample, selector

from tests.support.prometheus import vector

if TYPE_CHECKING:
    from collections.abc import Callable


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
