from __future__ import annotations

import dataclasses
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from yarl import URL

from orchestrator.errors import StepError
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.http import HttpNode
from orchestrator.nodes.http_auth import Binding
from orchestrator.secrets import SecretFolder, Secrets
from tests.support.services import Names, Service, failure, keep_secret, ok, redirect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orchestrator.masks import Masks
    from orchestrator.nodes.base import StepContext

BEARER = {"bearer": {"secret": "api", "key": "token"}}
HERE = "http://127.0.0.1"


@pytest.fixture
async def http(tmp_path: Path, masks: Masks) -> AsyncIterator[HttpNode]:
    node = HttpNode(AllowList.parse("127.0.0.0/8"), Secrets(SecretFolder(tmp_path), masks))
    yield node
    await node.aclose()


# ---- what is sent


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (BEARER, "Authorization", "Bearer canary-1"),
        (
            {"basic": {"username": "me", "password": {"secret": "api", "key": "token"}}},
            "Authorization",
            "Basic " + b64encode(b"me:canary-1").decode(),
        ),
        (
            {"basic": {"username": {"secret": "api", "key": "name"}, "password": {"secret": "api", "key": "token"}}},
            "Authorization",
            "Basic " + b64encode("jürgen-1:canary-1".encode()).decode(),
        ),
        ({"header": {"name": "X-Api-Key", "value": {"secret": "api", "key": "token"}}}, "X-Api-Key", "canary-1"),
        (
            {"header": {"name": "Authorization", "prefix": "Token ", "value": {"secret": "api", "key": "token"}}},
            "Authorization",
            "Token canary-1",
        ),
    ],
)
async def test_a_credential_is_sent_as_the_author_says(
    http: HttpNode, service: Service, context: StepContext, tmp_path: Path, auth: Any, header: str, value: str
) -> None:
    keep_secret(tmp_path, "api", hosts=HERE, token="canary-1", name="jürgen-1")
    await http.run({"url": service.answer("/x", ok), "auth": auth}, context)
    assert service.requests[0].headers.getall(header) == [value]


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        (None, "the Secret allows no host; whoever keeps it can add http://127.0.0.1"),
        ("127.0.0.1", "the Secret allows 127.0.0.1 only"),  # over TLS, that is
        ("http://127.0.0.1:1", "allows http://127.0.0.1:1 only"),
        ("http://localhost", "allows http://localhost only"),
    ],
)
async def test_a_credential_goes_nowhere_but_to_its_hosts(
    http: HttpNode, service: Service, context: StepContext, tmp_path: Path, hosts: str | None, told: str
) -> None:
    keep_secret(tmp_path, "api", hosts=hosts, token="canary-1")
    error = await failure(http.run({"url": service.answer("/x", ok), "auth": BEARER}, context))
    assert (error.kind, error.retryable) == ("SecretRefused", False)
    assert told in error.message
    assert service.requests == []


async def test_both_secrets_of_a_pair_are_bound(
    http: HttpNode, service: Service, context: StepContext, tmp_path: Path
) -> None:
    keep_secret(tmp_path, "api", hosts=HERE, token="canary-1")
    keep_secret(tmp_path, "user", name="user-canary")
    pair = {"username": {"secret": "user", "key": "name"}, "password": BEARER["bearer"]}
    error = await failure(http.run({"url": service.answer("/x", ok), "auth": {"basic": pair}}, context))
    assert error.kind == "SecretRefused"
    assert service.requests == []


async def test_only_the_executions_own_namespace_is_read(
    http: HttpNode, service: Service, context: StepContext, tmp_path: Path
) -> None:
    keep_secret(tmp_path, "api", hosts=HERE, token="canary-1")
    other = dataclasses.replace(context, namespace="other")
    error = await failure(http.run({"url": service.answer("/x", ok), "auth": BEARER}, other))
    assert (error.kind, error.retryable) == ("SecretMissing", True)


@pytest.mark.parametrize("value", ["canary\n-1", "canary\x7f-1"])
async def test_a_value_that_no_header_takes_is_not_sent(
    http: HttpNode, service: Service, context: StepContext, tmp_path: Path, value: str
) -> None:
    keep_secret(tmp_path, "api", hosts=HERE, token=value)
    error = await failure(http.run({"url": service.answer("/x", ok), "auth": BEARER}, context))
    assert (error.kind, error.retryable) == ("SecretUnusable", False)
    assert service.requests == []


async def test_a_host_that_is_none_is_told(
    http: HttpNode, service: Service, context: StepContext, tmp_path: Path
) -> None:
    keep_secret(tmp_path, "api", hosts="https://a.example/path", token="canary-1")
    error = await failure(http.run({"url": service.answer("/x", ok), "auth": BEARER}, context))
    assert error.kind == "SecretUnusable"
    assert "its key 'hosts': 'https://a.example/path' is no host" in error.message


# ---- redirects


AUTHS = [BEARER, {"header": {"name": "X-Api-Key", "value": {"secret": "api", "key": "token"}}}]


@pytest.mark.parametrize("auth", AUTHS)
async def test_a_credential_stays_where_it_is_on_the_same_origin(
    http: HttpNode, service: Service, context: StepContext, tmp_path: Path, auth: Any
) -> None:
    keep_secret(tmp_path, "api", hosts=HERE, token="canary-1")
    service.answer("/end", ok)
    await http.run({"url": service.answer("/x", redirect("/end")), "auth": auth}, context)
    assert "canary-1" in str(service.requests[1].headers)


@pytest.mark.parametrize("auth", AUTHS)
async def test_a_credential_does_not_follow_to_another_origin_nor_come_back(
    http: HttpNode,
    service: Service,
    context: StepContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    auth: Any,
) -> None:
    Names(monkeypatch, shop=["127.0.0.1"], other=["127.0.0.1"])
    keep_secret(tmp_path, "api", hosts="http://shop http://other", token="canary-1")  # even one that is a host of it
    service.answer("/x", redirect(service.url("/y", "other"), 307))
    service.answer("/y", redirect(service.url("/z", "shop"), 307))
    service.answer("/z", ok)
    await http.run({"url": service.url("/x", "shop"), "auth": auth}, context)
    first, second, third = service.requests
    assert "canary-1" in str(first.headers)
    assert "canary-1" not in str(second.headers) + str(third.headers)


async def test_a_downgrade_is_another_origin(
    http: HttpNode, service: Service, context: StepContext, tmp_path: Path
) -> None:
    keep_secret(tmp_path, "api", hosts=HERE, token="canary-1")
    upgraded = service.url("/x").replace("http://", "https://")
    service.answer("/x", lambda _: web.Response(status=302, headers={"Location": upgraded}))
    error = await failure(http.run({"url": service.url("/x"), "auth": BEARER}, context))
    assert error.kind == "ConnectionError"  # it did try TLS; no second request came in the clear
    assert len(service.requests) == 1


# ---- hosts


@pytest.mark.parametrize(
    ("entry", "url", "covered"),
    [
        ("api.example.com", "https://api.example.com/x", True),
        ("api.example.com", "https://API.Example.com./x", True),
        ("API.example.com.", "https://api.example.com:8443/x", True),
        ("api.example.com", "http://api.example.com/x", False),
        ("http://api.example.com", "http://api.example.com/x", True),
        ("http://api.example.com", "https://api.example.com/x", False),
        ("https://api.example.com", "https://api.example.com/x", True),
        ("api.example.com", "https://api.example.com.evil.test/x", False),
        ("api.example.com", "https://evil-api.example.com/x", False),
        ("api.example.com:8443", "https://api.example.com:8443/x", True),
        ("api.example.com:8443", "https://api.example.com/x", False),
        ("api.example.com:443", "https://api.example.com/x", True),
        ("*.example.com", "https://a.b.example.com/x", True),
        ("*.example.com", "https://example.com/x", False),
        ("*.example.com", "https://evilexample.com/x", False),
        ("10.0.0.1", "https://10.0.0.1/x", True),
        ("10.0.0.1", "https://167772161/x", False),
        ("[fd00::1]:8443", "https://[fd00::1]:8443/x", True),
        ("xn--bcher-kva.example", "https://bücher.example/x", True),
    ],
)
def test_a_host_covers_what_it_names(entry: str, url: str, *, covered: bool) -> None:
    assert Binding.parse(entry).covers(URL(url)) is covered


@pytest.mark.parametrize(
    "entry", ["*", "*.com", "*.*.com", "a.*.com", "ftp://a", "a/b", "a:port", "a:123456", "me@a", "bücher.example", ""]
)
def test_what_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is no host|top-level"):
        Binding.parse(entry)


# ---- what a workflow may say


@pytest.mark.parametrize(
    ("auth", "path", "words"),
    [
        ({}, "auth", "needs exactly one of bearer, basic and header"),
        ({**BEARER, "basic": {"username": "a", "password": BEARER["bearer"]}}, "auth", "needs exactly one of"),
        ("${input.auth}", "auth", "must be a map"),
        ({"bearer": "canary-1"}, "auth.bearer", "must be a map"),
        ({"bearer": {"secret": "${input.s}", "key": "token"}}, "auth.bearer.secret", "and no expression"),
        ({"bearer": {"secret": "api", "key": "${input.k}"}}, "auth.bearer.key", "and no expression"),
        ({"bearer": {"secret": "api", "key": "hosts"}}, "auth.bearer.key", "it is no credential"),
        ({"bearer": {"secret": "../a", "key": "k"}}, "auth.bearer.secret", "must be a Secret's name"),
        ({"basic": {"username": "a:b", "password": BEARER["bearer"]}}, "auth.basic.username", "a colon"),
        ({"basic": {"username": {"secret": "a"}, "password": BEARER["bearer"]}}, "auth.basic.username.key", "required"),
        ({"basic": {"username": 5, "password": BEARER["bearer"]}}, "auth.basic.username", "must be text"),
        ({"header": {"name": "Host", "value": BEARER["bearer"]}}, "auth.header.name", "the client sends it"),
        ({"header": {"name": "X", "prefix": "a\n", "value": BEARER["bearer"]}}, "auth.header.prefix", "visible ASCII"),
    ],
)
def test_what_is_wrong_with_auth_is_told_by_its_path(auth: Any, path: str, words: str) -> None:
    found = HttpNode.check_with({"url": "https://x", "auth": auth}, "with")
    assert [problem.path for problem in found] == [f"with.{path}"]
    assert words in found[0].message


def test_a_header_is_not_set_twice() -> None:
    with_ = {"url": "https://x", "headers": {"authorization": "mine"}, "auth": BEARER}
    (problem,) = HttpNode.check_with(with_, "with")
    assert "Authorization stands in headers and is what auth sends" in problem.message


def test_a_user_name_may_be_an_expression() -> None:
    auth = {"basic": {"username": "${input.user}", "password": BEARER["bearer"]}}
    assert HttpNode.check_with({"url": "https://x", "headers": "${input.headers}", "auth": auth}, "with") == []


def test_expressions_do_not_choose_a_secret_when_they_are_evaluated_either() -> None:
    with pytest.raises(StepError, match="must be a Secret's name"):
        HttpNode.parse({"url": "https://x", "auth": {"bearer": {"secret": "../b", "key": "k"}}})
