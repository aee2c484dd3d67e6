"""The adapter against a real HTTP server: what it sends, what it repeats, what it raises."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web
from kubernetes_asyncio import client as kubernetes_client
from orchestrator_operator.adapters.flag import SecretFlagStore
from orchestrator_operator.adapters.kubernetes import (
    Conflict,
    Kubernetes,
    KubernetesError,
    NotFound,
    Refused,
    Unavailable,
    decode,
    encode,
)
from orchestrator_operator.specs import EXECUTIONS

from orchestrator.flag import CLEAR, FlagConflict, FlagMissing, FlagUnavailable, FlagValues

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Answer = tuple[int, Any]


@dataclass
class Server:
    """Answers what the test says, in turn; the last answer stays. Remembers what it was asked."""

    answers: list[Answer] = field(default_factory=lambda: [(200, {})])
    requests: list[tuple[str, str, Any, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, str(request.rel_url), body, request.headers.get("Content-Type", "")))
        status, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status == 0:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        if isinstance(answer, str):
            return web.Response(status=status, text=answer, headers=self.headers)
        return web.json_response(answer, status=status, headers=self.headers)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield made, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest_asyncio.fixture
async def kubernetes(server: tuple[Server, str]) -> AsyncIterator[Kubernetes]:
    configuration = kubernetes_client.Configuration()
    configuration.host = server[1]
    client = Kubernetes(kubernetes_client.ApiClient(configuration), attempts=3)
    yield client
    await client.aclose()


def failure(status: int, reason: str = "") -> Answer:
    return status, {"kind": "Status", "reason": reason, "message": "in words"}


KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "none"}}],
}


@pytest.mark.parametrize("proxy", ["", "http://proxy.example:3128"])
async def test_proxies_are_looked_for_where_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(KUBECONFIG), encoding="utf-8")
    client = await Kubernetes.connect(str(path))
    assert client._api.rest_client.pool_manager.trust_env is bool(proxy)
    await client.aclose()


async def test_a_status_patch_names_the_version_it_means(server: tuple[Server, str], kubernetes: Kubernetes) -> None:
    await kubernetes.patch_status(EXECUTIONS, "shop", "one", {"phase": "Running"}, resource_version="7")
    assert server[0].requests == [
        (
            "PATCH",
            "/apis/orchestrator.dev/v1alpha1/namespaces/shop/executions/one/status",
            {"status": {"phase": "Running"}, "metadata": {"resourceVersion": "7"}},
            "application/merge-patch+json",
        )
    ]


async def test_a_status_patch_of_a_uid_reads_first(server: tuple[Server, str], kubernetes: Kubernetes) -> None:
    found = (200, {"metadata": {"uid": "u1", "resourceVersion": "7"}})
    server[0].answers = [found, failure(409), found, (200, {})]  # somebody wrote in between, once
    await kubernetes.patch_status(EXECUTIONS, "shop", "one", {}, uid="u1")
    assert [method for method, *_ in server[0].requests] == ["GET", "PATCH", "GET", "PATCH"]


async def test_a_status_patch_of_a_uid_spares_another_object(
    server: tuple[Server, str], kubernetes: Kubernetes
) -> None:
    server[0].answers = [(200, {"metadata": {"uid": "u2", "resourceVersion": "7"}})]
    with pytest.raises(Conflict):
        await kubernetes.patch_status(EXECUTIONS, "shop", "one", {}, uid="u1")
    assert [method for method, *_ in server[0].requests] == ["GET"]


async def test_a_name_cannot_leave_its_place_in_the_url(server: tuple[Server, str], kubernetes: Kubernetes) -> None:
    await kubernetes.get(EXECUTIONS, "shop", "../secrets/x?y")
    ((_, url, _, _),) = server[0].requests
    assert url.startswith("/apis/orchestrator.dev/v1alpha1/namespaces/shop/executions/")
    assert url.count("/") == 7


async def test_a_secret_is_patched_with_a_precondition(server: tuple[Server, str], kubernetes: Kubernetes) -> None:
    await kubernetes.patch_secret("shop", "flags", {"A": "true", "B": None}, resource_version="7")
    ((method, url, body, _),) = server[0].requests
    assert (method, url) == ("PATCH", "/api/v1/namespaces/shop/secrets/flags")
    assert body == {"data": {"A": "dHJ1ZQ==", "B": None}, "metadata": {"resourceVersion": "7"}}


async def test_a_list_is_read_page_by_page(server: tuple[Server, str], kubernetes: Kubernetes) -> None:
    server[0].answers = [
        (200, {"metadata": {"continue": "next"}, "items": [{"n": 1}]}),
        (200, {"metadata": {}, "items": [{"n": 2}]}),
    ]
    assert await kubernetes.list(EXECUTIONS, "shop") == [{"n": 1}, {"n": 2}]
    assert "continue=next" in server[0].requests[1][1]


async def test_a_list_whose_snapshot_is_gone_begins_again(server: tuple[Server, str], kubernetes: Kubernetes) -> None:
    server[0].answers = [
        (200, {"metadata": {"continue": "next"}, "items": [{"n": 1}]}),
        failure(410, "Expired"),
        (200, {"metadata": {}, "items": [{"n": 3}]}),
    ]
    assert await kubernetes.list(EXECUTIONS, "shop") == [{"n": 3}]


async def test_pages_come_one_after_the_other_and_again_if_the_list_begins_again(
    server: tuple[Server, str], kubernetes: Kubernetes
) -> None:
    server[0].answers = [
        (200, {"metadata": {"continue": "next"}, "items": [{"n": 1}]}),
        failure(410, "Expired"),
        (200, {"metadata": {"continue": "next"}, "items": [{"n": 1}]}),
        (200, {"metadata": {}, "items": [{"n": 2}]}),
    ]
    assert [page async for page in kubernetes.pages(EXECUTIONS, "shop")] == [[{"n": 1}], [{"n": 1}], [{"n": 2}]]


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFound), (409, Conflict), (403, Refused), (422, Refused), (400, Refused)]
)
async def test_what_will_not_get_better_is_raised_at_once(
    server: tuple[Server, str], kubernetes: Kubernetes, status: int, error: type[KubernetesError]
) -> None:
    server[0].answers = [failure(status, "Why")]
    with pytest.raises(error, match="in words") as caught:
        await kubernetes.get(EXECUTIONS, "shop", "one")
    assert (caught.value.status, caught.value.reason, len(server[0].requests)) == (status, "Why", 1)


@pytest.mark.parametrize("status", [429, 500, 503, 0])
async def test_what_may_get_better_is_repeated(server: tuple[Server, str], kubernetes: Kubernetes, status: int) -> None:
    server[0].answers = [failure(status), failure(status), (200, {"ok": True})]
    assert await kubernetes.get(EXECUTIONS, "shop", "one") == {"ok": True}


async def test_it_gives_up_in_the_end(server: tuple[Server, str], kubernetes: Kubernetes) -> None:
    server[0].answers = [(503, "<html>a proxy's page")]
    with pytest.raises(Unavailable, match="a proxy's page"):
        await kubernetes.get(EXECUTIONS, "shop", "one")
    assert len(server[0].requests) == 3


async def test_an_event_that_was_told_before_is_no_error(server: tuple[Server, str], kubernetes: Kubernetes) -> None:
    server[0].answers = [failure(409, "AlreadyExists")]
    await kubernetes.create_event("shop", {"metadata": {"name": "e"}})
    assert len(server[0].requests) == 1


async def test_without_a_usable_kubeconfig_it_says_what_to_do() -> None:
    with pytest.raises(Refused, match="set KUBECONFIG"):
        await Kubernetes.connect("/nonexistent/kubeconfig")


@pytest.mark.parametrize("value", ["", "true", "ação ✓"])
def test_values_of_secrets_read_back(value: str) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize("spoiled", ["%%%", "/w==", "a"])
def test_a_spoiled_value_of_a_secret_raises_nothing(spoiled: str) -> None:
    assert isinstance(decode(spoiled), str)


class TestFlag:
    @pytest.fixture
    def flags(self, kubernetes: Kubernetes) -> SecretFlagStore:
        return SecretFlagStore(kubernetes, "shop", "flags")

    async def test_it_reads_values_version_and_who_wrote_them(
        self, server: tuple[Server, str], flags: SecretFlagStore
    ) -> None:
        def wrote(manager: str, time: str, *keys: str) -> dict[str, Any]:
            return {"manager": manager, "time": time, "fieldsV1": {"f:data": {f"f:{key}": {} for key in keys}}}

        fields = [
            wrote("controller", "2026-01-01T00:00:00Z", "USE_ORCHESTRATOR_V2", "USE_ORCHESTRATOR_V2_PERCENT"),
            wrote("argocd", "2026-01-02T00:00:00Z", "USE_ORCHESTRATOR_V2"),
        ]
        data = {"USE_ORCHESTRATOR_V2": encode("true"), "OTHER": encode("x")}
        server[0].answers = [(200, {"metadata": {"resourceVersion": "9", "managedFields": fields}, "data": data})]
        found = await flags.read()
        assert (found.values, found.version, found.exists) == (FlagValues("true"), "9", True)
        assert found.managers == {"USE_ORCHESTRATOR_V2": "argocd", "USE_ORCHESTRATOR_V2_PERCENT": "controller"}

    async def test_a_missing_secret_is_a_flag_that_does_not_exist(
        self, server: tuple[Server, str], flags: SecretFlagStore
    ) -> None:
        server[0].answers = [failure(404)]
        assert not (await flags.read()).exists

    @pytest.mark.parametrize(("status", "error"), [(404, FlagMissing), (409, FlagConflict), (503, FlagUnavailable)])
    async def test_a_write_that_fails_says_how(
        self, server: tuple[Server, str], flags: SecretFlagStore, status: int, error: type[Exception]
    ) -> None:
        server[0].answers = [failure(status)]
        with pytest.raises(error):
            await flags.write(CLEAR.as_mapping(), "9")

    async def test_no_other_key_is_ever_written(self, flags: SecretFlagStore) -> None:
        with pytest.raises(ValueError, match="OTHER"):
            await flags.write({"OTHER": "x"}, "9")


async def test_a_proxys_page_in_place_of_an_answer_is_no_answer(
    server: tuple[Server, str], kubernetes: Kubernetes
) -> None:
    server[0].answers = [(200, "<html>please log in</html>"), (200, {"metadata": {"name": "one"}})]
    assert await kubernetes.get(EXECUTIONS, "shop", "one") == {"metadata": {"name": "one"}}


@pytest.mark.parametrize("page", ["", "[]", "<html>", "\udc80"])
async def test_pages_for_ever_are_an_unavailable_server(
    server: tuple[Server, str], kubernetes: Kubernetes, page: str
) -> None:
    server[0].answers = [(200, page.encode(errors="replace").decode())]
    with pytest.raises(Unavailable, match="is no JSON object"):
        await kubernetes.get(EXECUTIONS, "shop", "one")
