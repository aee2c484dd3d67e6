from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.http import HttpNode
from orchestrator.nodes.http_with import MAX_BODY
from tests.support.services import Names, Service, certificate, failure, ok, redirect, start

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.nodes.base import StepContext


# ---- the request


async def test_a_request_carries_the_key_the_engine_and_who_asks(
    http: HttpNode, service: Service, context: StepContext
) -> None:
    await http.run({"url": service.answer("/x", ok)}, context)
    headers = service.requests[0].headers
    assert headers["Idempotency-Key"] == "e-1/charge"
    assert headers["X-Orchestrator-Engine"] == "v2"
    assert headers["User-Agent"].startswith("orchestrator/")


async def test_method_query_headers_and_json_arrive(http: HttpNode, service: Service, context: StepContext) -> None:
    with_ = {
        "method": "POST",
        "url": service.answer("/x", ok) + "?a=1",
        "query": {"b": "ü &", "c": [1, True]},
        "headers": {"X-Trace": "ü", "X-Count": 3},
        "body": {"order": "o-1"},
    }
    await http.run(with_, context)
    (request,) = service.requests
    assert request.method == "POST"
    assert list(request.query.items()) == [("a", "1"), ("b", "ü &"), ("c", "1"), ("c", "true")]
    assert (request.headers["X-Trace"], request.headers["X-Count"]) == ("ü", "3")
    assert request.headers["Content-Type"] == "application/json"
    assert service.bodies == [b'{"order":"o-1"}']


@pytest.mark.parametrize(
    ("with_", "sent"),
    [
        ({"body": "text", "headers": {"content-type": "text/plain"}}, b"text"),
        ({"body": "text"}, b'"text"'),
        ({"body": {"a": 1}, "headers": {"Content-Type": "application/merge-patch+json"}}, b'{"a":1}'),
        ({"body": None}, b""),
        ({"body": False}, b"false"),
    ],
)
async def test_a_body_is_json_unless_it_is_text_of_a_type_of_its_own(
    http: HttpNode, service: Service, context: StepContext, with_: dict[str, Any], sent: bytes
) -> None:
    await http.run({"method": "POST", "url": service.answer("/x", ok), **with_}, context)
    assert service.bodies == [sent]


# ---- the answer


async def test_the_output_is_status_headers_and_body(http: HttpNode, service: Service, context: StepContext) -> None:
    url = service.answer("/x", lambda _: web.json_response({"n": 1}, status=201, headers={"X-Id": "7"}))
    output = await http.run({"url": url}, context)
    assert (output["status"], output["body"], output["headers"]["x-id"]) == (201, {"n": 1}, "7")


@pytest.mark.parametrize(
    ("response", "body"),
    [
        ({"body": b'{"a": 1}', "content_type": "application/problem+json"}, {"a": 1}),
        ({"body": b'{"a": 1}', "content_type": "text/plain"}, '{"a": 1}'),
        ({"body": b"{oops", "content_type": "application/json"}, "{oops"),
        ({"body": b"NaN", "content_type": "application/json"}, "NaN"),
        ({"body": b"[" * 100_000, "content_type": "application/json"}, "[" * 100_000),
        ({"body": b"", "content_type": "application/json"}, None),
        ({"body": "é".encode("latin-1"), "headers": {"Content-Type": "text/plain; charset=latin-1"}}, "é"),
        ({"body": b"a", "headers": {"Content-Type": "text/plain; charset=klingon"}}, "a"),
        ({"body": b"a", "headers": {"Content-Type": "text/plain; charset=idna"}}, "a"),
        ({"body": b"a\x00\xffb", "content_type": "application/octet-stream"}, "a\ufffd\ufffdb"),
    ],
)
async def test_a_body_is_parsed_when_it_is_json(
    http: HttpNode, service: Service, context: StepContext, response: dict[str, Any], body: Any
) -> None:
    url = service.answer("/x", lambda _: web.Response(**response))
    assert (await http.run({"url": url}, context))["body"] == body


async def test_cookies_are_neither_put_out_nor_sent_again(
    http: HttpNode, service: Service, context: StepContext
) -> None:
    url = service.answer("/x", lambda _: web.Response(headers={"Set-Cookie": "session=canary"}))
    assert "canary" not in str(await http.run({"url": url}, context))
    await http.run({"url": url}, context)
    assert "Cookie" not in service.requests[1].headers


async def test_many_headers_are_cut(http: HttpNode, service: Service, context: StepContext) -> None:
    headers = {f"X-{number}": "v" * 1000 for number in range(20)}
    url = service.answer("/x", lambda _: web.Response(headers=headers))
    assert len(str((await http.run({"url": url}, context))["headers"])) < 10_000


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (404, False), (408, True), (409, False), (422, False), (429, True), (500, True), (503, True)],
)
async def test_an_unexpected_status_fails_the_attempt(
    http: HttpNode, service: Service, context: StepContext, status: int, *, retryable: bool
) -> None:
    url = service.answer("/x", lambda _: web.Response(status=status, text="because"))
    error = await failure(http.run({"url": f"{url}?token=canary"}, context))
    assert (error.kind, error.retryable) == ("HttpStatus", retryable)
    assert error.message == f"GET {url} answered {status}: because"


@pytest.mark.parametrize(("expect", "good"), [([404], True), ([200, 404], True), ([200], False)])
async def test_the_author_says_which_status_is_good(
    http: HttpNode, service: Service, context: StepContext, expect: list[int], *, good: bool
) -> None:
    run = http.run({"url": service.answer("/x", lambda _: web.Response(status=404)), "expect": expect}, context)
    if good:
        assert (await run)["status"] == 404
    else:
        assert (await failure(run)).kind == "HttpStatus"


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    http: HttpNode, service: Service, context: StepContext, *, chunked: bool
) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if not chunked:
            response.content_length = 1 << 40
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    error = await failure(http.run({"url": service.answer("/x", flood)}, context))
    assert (error.kind, error.retryable) == ("ResponseTooLarge", False)


async def test_an_answer_of_just_the_limit_is_read(http: HttpNode, service: Service, context: StepContext) -> None:
    url = service.answer("/x", lambda _: web.Response(text="x" * MAX_BODY))
    assert len((await http.run({"url": url}, context))["body"]) == MAX_BODY


async def test_a_compressed_answer_is_refused(http: HttpNode, service: Service, context: StepContext) -> None:
    url = service.answer("/x", lambda _: web.Response(body=b"x", headers={"Content-Encoding": "gzip"}))
    assert (await failure(http.run({"url": url}, context))).kind == "UnsupportedEncoding"
    assert service.requests[0].headers["Accept-Encoding"] == "identity"


# ---- failures of the connection


async def test_a_refused_connection_may_be_retried(http: HttpNode, context: StepContext) -> None:
    service = await start()
    url = service.url("/x")
    await service.server.close()
    error = await failure(http.run({"url": url}, context))
    assert (error.kind, error.retryable) == ("ConnectionError", True)
    assert url in error.message


async def test_a_connection_that_breaks_may_be_retried(http: HttpNode, service: Service, context: StepContext) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    error = await failure(http.run({"url": service.answer("/x", hang_up)}, context))
    assert (error.kind, error.retryable) == ("ConnectionError", True)


async def test_a_name_that_does_not_resolve_may_be_retried(http: HttpNode, context: StepContext) -> None:
    error = await failure(http.run({"url": "http://no-such-host.invalid/"}, context))
    assert (error.kind, error.retryable) == ("ConnectionError", True)


async def test_proxy_variables_are_ignored(
    service: Service, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    http = HttpNode(AllowList.parse("127.0.0.1"))
    assert (await http.run({"url": service.answer("/x", ok)}, context))["status"] == 200
    await http.aclose()


# ---- where it may go


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1"])
async def test_an_address_that_is_not_allowed_is_refused(service: Service, context: StepContext, host: str) -> None:
    service.answer("/x", ok)
    http = HttpNode()
    error = await failure(http.run({"url": service.url("/x", host)}, context))
    await http.aclose()
    assert (error.kind, error.retryable) == ("AddressRefused", False)
    assert "ORCHESTRATOR_HTTP_ALLOW" in error.message
    assert service.requests == []


async def test_a_name_is_resolved_once_and_its_judged_address_is_used(
    http: HttpNode, service: Service, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A second look-up would give an address that is not allowed: what a rebinding attack does the other way round.
    names = Names(monkeypatch, rebound=["127.0.0.1", "10.255.255.1"])
    service.answer("/x", ok)
    assert (await http.run({"url": service.url("/x", "rebound")}, context))["status"] == 200
    assert names.asked["rebound"] == 1
    assert service.requests[0].headers["Host"] == f"rebound:{service.server.port}"


async def test_a_name_that_leads_to_a_private_address_is_refused(
    http: HttpNode, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, harmless=["169.254.169.254"])
    error = await failure(http.run({"url": "http://harmless/latest/meta-data"}, context))
    assert error.kind == "AddressRefused"
    assert "169.254.169.254" in error.message


# ---- redirects


async def test_a_redirect_is_followed(http: HttpNode, service: Service, context: StepContext) -> None:
    service.answer("/end", ok)
    output = await http.run({"url": service.answer("/x", redirect("/end"))}, context)
    assert output["status"] == 200
    assert [request.path for request in service.requests] == ["/x", "/end"]


async def test_a_redirect_that_keeps_the_method_keeps_body_and_key(
    http: HttpNode, service: Service, context: StepContext
) -> None:
    service.answer("/end", ok)
    await http.run({"method": "POST", "url": service.answer("/x", redirect("/end", 307)), "body": {"a": 1}}, context)
    assert service.bodies == [b'{"a":1}'] * 2
    assert service.requests[1].headers["Idempotency-Key"] == "e-1/charge"


async def test_an_expected_redirect_is_the_answer(http: HttpNode, service: Service, context: StepContext) -> None:
    url = service.answer("/x", redirect("/end"))
    output = await http.run({"url": url, "expect": [302]}, context)
    assert (output["status"], output["headers"]["location"]) == (302, "/end")


async def test_redirects_come_to_an_end(http: HttpNode, service: Service, context: StepContext) -> None:
    error = await failure(http.run({"url": service.answer("/x", redirect("/x"))}, context))
    assert (error.kind, error.retryable) == ("TooManyRedirects", False)
    assert len(service.requests) == 6


async def test_a_redirect_to_a_forbidden_address_is_refused(
    service: Service, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, shop=["127.0.0.1"])
    http = HttpNode(AllowList.parse(f"shop:{service.server.port}"))
    service.answer("/x", redirect(service.url("/secret")))
    error = await failure(http.run({"url": service.url("/x", "shop")}, context))
    await http.aclose()
    assert error.kind == "AddressRefused"
    assert [request.path for request in service.requests] == ["/x"]


async def test_credentials_do_not_follow_to_another_host(
    http: HttpNode, service: Service, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, shop=["127.0.0.1"])
    service.answer("/x", redirect(service.url("/end"), 307))
    service.answer("/end", ok)
    headers = {"Authorization": "Bearer canary", "X-Api-Key": "canary", "Accept": "text/plain"}
    await http.run({"method": "POST", "url": service.url("/x", "shop"), "headers": headers, "body": 1}, context)
    first, second = service.requests
    assert (first.headers["Authorization"], first.headers["X-Api-Key"]) == ("Bearer canary", "canary")
    assert "canary" not in str(second.headers)
    assert (second.headers["Accept"], second.headers["Content-Type"]) == ("text/plain", "application/json")


async def test_credentials_stay_on_the_same_host(http: HttpNode, service: Service, context: StepContext) -> None:
    service.answer("/end", ok)
    await http.run({"url": service.answer("/x", redirect("/end")), "headers": {"Authorization": "Bearer a"}}, context)
    assert service.requests[1].headers["Authorization"] == "Bearer a"


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://[oops"])
async def test_a_redirect_to_what_is_no_web_address_fails(
    http: HttpNode, service: Service, context: StepContext, location: str
) -> None:
    error = await failure(http.run({"url": service.answer("/x", redirect(location))}, context))
    assert (error.kind, error.retryable) == ("RedirectRefused", False)


# ---- TLS


async def test_tls_is_verified_against_the_name_and_not_the_address(
    http: HttpNode, context: StepContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, tls = certificate(tmp_path, "shop.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    Names(monkeypatch, **{"shop.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    service = await start(tls)
    service.answer("/x", ok)
    assert (await http.run({"url": service.url("/x", "shop.example")}, context))["status"] == 200
    error = await failure(http.run({"url": service.url("/x", "other.example")}, context))
    await service.server.close()
    assert error.kind == "ConnectionError"
    assert "other.example" in error.message
