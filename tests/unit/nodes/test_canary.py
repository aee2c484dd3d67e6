"""A secret's value that comes back from where it was sent reaches neither output nor failure."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from aiohttp import web

from orchestrator.errors import StepError
from orchestrator.functions import Functions, NonRetryable
from orchestrator.masks import MASK, Masks
from orchestrator.model import Node, RetryPolicy
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.runner import NodeRunner
from orchestrator.secrets import SecretFolder
from tests.support.services import Service, failure, keep_secret, redirect, talking

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from orchestrator.nodes.base import StepContext

CANARY = 'canary+"7\\/é=='
BASIC = {"basic": {"username": "me", "password": {"secret": "api", "key": "token"}}}
HEADER = {"header": {"name": "X-Api-Key", "value": {"secret": "api", "key": "token"}}}


def node(type_: str) -> Node:
    retry = RetryPolicy(1, timedelta(0), 1.0, timedelta(0), "none")
    return Node("charge", type_, (), None, {}, retry, timedelta(seconds=20))


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
async def runner(tmp_path: Path, functions: Functions, masks: Masks) -> AsyncIterator[NodeRunner]:
    keep_secret(tmp_path, "api", hosts="http://127.0.0.1", token=CANARY, number="1234567890")
    async with NodeRunner(
        allowed=AllowList.parse("127.0.0.0/8"), functions=functions, secrets=SecretFolder(tmp_path), masks=masks
    ) as opened:
        yield opened


def clean(said: object) -> bool:
    """No piece of the canary that a person could use, in whatever form, is left."""
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    pieces = (
        "canary",
        base64.b64encode(CANARY.encode()).decode()[2:10],
        base64.b64encode(b"me:" + CANARY.encode()).decode()[4:14],
    )
    return not any(piece in text for piece in pieces)


def told(request: web.Request) -> str:
    """What a service was sent in its headers, as it read it."""
    return request.headers.get("X-Api-Key") or request.headers["Authorization"]


ECHOES: dict[str, Callable[[web.Request], web.Response]] = {
    "text": lambda request: web.Response(text=f"you said {told(request)}"),
    "JSON": lambda request: web.json_response({"you": [{"said": told(request)}]}),
    "a JSON key": lambda request: web.json_response({told(request): 1}),
    "JSON in JSON": lambda request: web.json_response({"raw": json.dumps({"said": told(request)})}),
    "HTML": lambda request: web.Response(text=f"<p>{told(request).replace('&', '&amp;').replace(chr(34), '&quot;')}"),
    "a header": lambda request: web.Response(headers={"X-Said": told(request)}),
    "a quoted header": lambda request: web.Response(headers={"X-Said": quote(told(request))}),
    "a Latin-1 text": lambda request: web.Response(
        body=told(request).encode(), content_type="text/plain", charset="latin-1"
    ),
    "UTF-16": lambda request: web.Response(
        body=told(request).encode("utf-16"), content_type="text/plain", charset="utf-16"
    ),
    "Base64": lambda request: web.Response(text=base64.b64encode(told(request).encode()).decode()),
}


@pytest.mark.parametrize("auth", [BASIC, HEADER], ids=["basic", "header"])
@pytest.mark.parametrize("echo", ECHOES.values(), ids=list(ECHOES))
async def test_an_echo_is_masked_in_the_output(
    runner: NodeRunner, service: Service, context: StepContext, echo: Any, auth: Any
) -> None:
    output = await runner.run(node("http"), {"url": service.answer("/x", echo), "auth": auth}, context)
    assert clean(output), output
    assert MASK in json.dumps(output)


@pytest.mark.parametrize("auth", [BASIC, HEADER], ids=["basic", "header"])
@pytest.mark.parametrize("echo", [*ECHOES])
async def test_an_echo_is_masked_in_the_failure(
    runner: NodeRunner, service: Service, context: StepContext, echo: str, auth: Any
) -> None:
    def refuse(request: web.Request) -> web.Response:
        response = ECHOES[echo](request)
        response.set_status(400)
        return response

    error = await failure(runner.run(node("http"), {"url": service.answer("/x", refuse), "auth": auth}, context))
    assert clean(error.message), error.message
    assert error.kind == "HttpStatus"


@pytest.mark.parametrize("before", range(150, 210, 3))
async def test_no_beginning_of_it_is_left_where_a_message_is_cut(
    runner: NodeRunner, service: Service, context: StepContext, before: int
) -> None:
    url = service.answer("/x", lambda request: web.Response(status=400, text="x" * before + told(request)))
    error = await failure(runner.run(node("http"), {"url": url, "auth": HEADER}, context))
    assert "xc" not in error.message


async def test_a_number_that_is_a_secret_is_masked(runner: NodeRunner, service: Service, context: StepContext) -> None:
    auth = {"header": {"name": "X-Api-Key", "value": {"secret": "api", "key": "number"}}}
    url = service.answer("/x", lambda request: web.json_response({"n": int(told(request))}))
    assert (await runner.run(node("http"), {"url": url, "auth": auth}, context))["body"] == {"n": MASK}


async def test_a_redirect_that_carries_it_is_masked_wherever_it_ends(
    runner: NodeRunner, service: Service, context: StepContext
) -> None:
    with_ = {"url": service.url("/x"), "auth": HEADER}
    service.answers["/x"] = lambda request: redirect(f"/{quote(told(request), safe='')}")(request)
    for end in (lambda _: web.Response(status=404), redirect("/x"), redirect("ftp://x/")):
        service.answers[f"/{CANARY}"] = end
        error = await failure(runner.run(node("http"), with_, context))
        assert clean(error.message), error.message
    output = await runner.run(node("http"), {**with_, "expect": [302]}, context)
    assert clean(output), output


async def test_an_answer_that_is_no_http_is_masked(runner: NodeRunner, context: StepContext) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + asked.replace(b"X-Api-Key:", b"X Api Key\x00:"))

    async with talking(talk) as port:
        with_ = {"url": f"http://127.0.0.1:{port}/", "auth": HEADER}
        error = await failure(runner.run(node("http"), with_, context))
    assert error.kind == "ConnectionError"
    assert clean(error.message), error.message


@pytest.mark.parametrize("in_thread", [True, False])
async def test_what_a_function_returns_is_masked(
    runner: NodeRunner, functions: Functions, context: StepContext, *, in_thread: bool
) -> None:
    def plain(context: StepContext) -> dict[str, str]:
        return {"token": context.secret("api", "token")}

    async def coroutine(context: StepContext) -> dict[str, str]:
        return plain(context)

    functions.register(plain if in_thread else coroutine, "f")
    assert await runner.run(node("python"), {"call": "f"}, context) == {"token": MASK}


async def test_a_function_gets_the_value_itself(runner: NodeRunner, functions: Functions, context: StepContext) -> None:
    functions.register(lambda context: context.secret("api", "token") == CANARY, "f")
    assert await runner.run(node("python"), {"call": "f"}, context) is True


@pytest.mark.parametrize(
    "raised",
    [
        KeyError,
        lambda value: ValueError("x" * 1990 + value),
        lambda value: NonRetryable(f"no {value}", kind=value),
        lambda value: type(value, (Exception,), {})("a class of that name"),
        TimeoutError,
        SystemExit,
        lambda value: UnicodeEncodeError("ascii", value, 0, 1, "no"),
    ],
)
async def test_what_a_function_raises_is_masked(
    runner: NodeRunner, functions: Functions, context: StepContext, raised: Callable[[str], BaseException]
) -> None:
    def f(context: StepContext) -> None:
        raise raised(context.secret("api", "token"))

    functions.register(f, "f")
    error = await failure(runner.run(node("python"), {"call": "f"}, context))
    assert clean(error.message + error.kind), error
    assert "xc" not in error.message


async def test_a_function_hears_of_a_secret_that_is_not_there(
    runner: NodeRunner, functions: Functions, context: StepContext
) -> None:
    def f(context: StepContext) -> str:
        return context.secret("api", "other")

    functions.register(f, "f")
    error = await failure(runner.run(node("python"), {"call": "f"}, context))
    assert (error.kind, error.retryable) == ("SecretMissing", True)


def test_a_context_without_a_worker_has_no_secrets(context: StepContext) -> None:
    with pytest.raises(StepError, match="there is nobody here to ask"):
        context.secret("api", "token")


async def test_a_transform_is_masked_too(runner: NodeRunner, context: StepContext, masks: Masks) -> None:
    masks.add(CANARY)
    assert await runner.run(node("transform"), {"a": f"({CANARY})"}, context) == {"a": f"({MASK})"}
