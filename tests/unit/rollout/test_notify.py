"""The webhook: told once of what people want to know, never waited for, and its address is shown to nobody."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web
from orchestrator_operator.adapters.kubernetes import Refused, Unavailable, encode
from orchestrator_operator.adapters.webhook import Webhook
from orchestrator_operator.rollout.acting import letters
from orchestrator_operator.rollout.acting.letters import OPENINGS
from orchestrator_operator.rollout.acting.notify import Notifier
from orchestrator_operator.rollout.planning.situation import ABORT
from orchestrator_operator.specs.rollout import SecretKey
from orchestrator_operator.specs.rollout_status import Decision, RolloutStatus

from orchestrator.nodes.addresses import AllowList
from orchestrator.testing import FakeClock, MemoryStore
from tests.support.cluster import NAMESPACE, FakeKubernetes
from tests.support.rollout_cluster import FAILING, PASSING, Cluster
from tests.support.services import certificate, ok, redirect, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.services import Service

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CANARY = "/services/T0/B0/canary-of-the-webhook"
WHERE = SecretKey(secret="rollout-webhook", key="url")
LOCAL = AllowList.parse("127.0.0.0/8")


def decision(action: str = "Promote", message: str = "on we go", at: datetime = NOW) -> Decision:
    return Decision(at=at, action=action, reason="StagePassed", message=message)


def status(*decisions: Decision) -> RolloutStatus:
    return RolloutStatus(stage="two", percent="25", decisions=decisions)


def keep(kubernetes: Any, url: str) -> None:
    kubernetes.add_secret("rollout-webhook")
    kubernetes.objects["secrets", NAMESPACE, "rollout-webhook"]["data"] = {"url": encode(url)}


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    started = await start()
    yield started
    await started.server.close()


@pytest.fixture
def kubernetes() -> Any:
    return FakeKubernetes(FakeClock())


@pytest_asyncio.fixture
async def webhook(kubernetes: Any) -> AsyncIterator[Webhook]:
    made = Webhook(kubernetes, NAMESPACE, LOCAL, pause=0.0)
    yield made
    await made.aclose()


# -- what is said


def test_a_letter_has_a_text_and_blocks_as_slack_takes_them() -> None:
    body = letters.letter("shop/v2", status(), decision()).body
    assert body["text"] == "Rollout shop/v2 goes on to its next stage: on we go"
    assert [block["type"] for block in body["blocks"]] == ["header", "section", "context"]
    assert "25 % of new executions on V2" in body["blocks"][2]["elements"][0]["text"]


def test_a_persons_words_call_no_channel_and_are_never_too_long() -> None:
    body = letters.letter("shop/v2", status(), decision(message="<!channel> & " + "x" * 9000)).body
    for text in (body["text"], body["blocks"][1]["text"]["text"]):
        assert "&lt;!channel&gt; &amp;" in text
        assert len(text) < 3000


@pytest.mark.parametrize("hour", [11, 12, 13])
def test_only_what_was_decided_since_is_due_whatever_the_clock_says(hour: int) -> None:
    held = decision(at=NOW.replace(hour=hour), action="Hold")
    sent = letters.due("shop/v2", status(decision(), held), status(decision()))
    assert [letter.about for letter in sent] == ["shop/v2 Hold StagePassed"]
    assert letters.due("shop/v2", status(decision(), held), status(decision(), held)) == ()


def test_a_decision_that_was_told_is_not_told_again_when_its_row_is_written() -> None:
    told = decision(action="RollBack")
    assert letters.due("shop/v2", status(told.model_copy(update={"number": 7})), status(told)) == ()


def test_starts_on_v2_after_a_rollback_are_a_letter() -> None:
    [sent] = letters.due("shop/v2", status(decision(action="Alert")), status())
    assert "executions still start on V2" in sent.body["text"]


def test_what_nobody_waits_for_is_no_letter() -> None:
    assert letters.due("shop/v2", status(decision(action="Progress")), status()) == ()


# -- how it is sent


async def test_it_is_posted_as_json(kubernetes: Any, webhook: Webhook, service: Service) -> None:
    keep(kubernetes, service.answer(CANARY, ok))
    assert await webhook.send("rollout-webhook", "url", {"text": "ü"}) == ""
    assert json.loads(service.bodies[0]) == {"text": "ü"}
    assert (service.requests[0].method, service.requests[0].path) == ("POST", CANARY)
    assert service.requests[0].content_type == "application/json"


async def test_over_https_the_name_of_the_service_is_checked(
    kubernetes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, context = certificate(tmp_path, "localhost")
    service = await start(context)
    service.answer(CANARY, ok)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    webhook = Webhook(kubernetes, NAMESPACE, LOCAL, pause=0.0)
    try:
        keep(kubernetes, service.url(CANARY, host="localhost"))
        assert await webhook.send("rollout-webhook", "url", {}) == ""
        keep(kubernetes, service.url(CANARY, host="127.0.0.1"))
        assert await webhook.send("rollout-webhook", "url", {}) == "no answer: ClientConnectorCertificateError"
    finally:
        await webhook.aclose()
        await service.server.close()


async def test_a_service_in_trouble_is_asked_three_times(kubernetes: Any, webhook: Webhook, service: Service) -> None:
    keep(kubernetes, service.answer(CANARY, lambda _: web.Response(status=503)))
    assert await webhook.send("rollout-webhook", "url", {}) == "the answer was HTTP 503"
    assert len(service.requests) == 3


async def test_a_service_that_recovers_is_told(kubernetes: Any, webhook: Webhook, service: Service) -> None:
    answers = iter([web.Response(status=429), web.Response(status=200)])
    keep(kubernetes, service.answer(CANARY, lambda _: next(answers)))
    assert await webhook.send("rollout-webhook", "url", {}) == ""


@pytest.mark.parametrize("answer", [lambda _: web.Response(status=404), redirect("http://127.0.0.1/elsewhere")])
async def test_a_refusal_and_a_redirect_are_not_tried_again(
    kubernetes: Any, webhook: Webhook, service: Service, answer: Any
) -> None:
    keep(kubernetes, service.answer(CANARY, answer))
    assert (await webhook.send("rollout-webhook", "url", {})).startswith("the answer was HTTP ")
    assert len(service.requests) == 1


async def test_an_address_inside_of_the_network_is_refused(kubernetes: Any, service: Service) -> None:
    webhook = Webhook(kubernetes, NAMESPACE, AllowList(), pause=0.0)
    keep(kubernetes, service.answer(CANARY, ok).replace("http://", "https://"))
    assert "ORCHESTRATOR_HTTP_ALLOW" in await webhook.send("rollout-webhook", "url", {})
    assert service.requests == []
    await webhook.aclose()


async def test_plain_http_goes_to_listed_hosts_alone(kubernetes: Any) -> None:
    """Even where the address is a public one."""
    webhook = Webhook(kubernetes, NAMESPACE, LOCAL, pause=0.0)
    keep(kubernetes, f"http://8.8.8.8{CANARY}")
    assert "plain http" in await webhook.send("rollout-webhook", "url", {})
    await webhook.aclose()


@pytest.mark.parametrize(
    ("content", "word"),
    [("ftp://x/y", "https://"), ("https://u:p@x/y", "https://"), ("", "https://"), ("https://[", "no URL")],
)
async def test_what_is_no_address_is_refused_by_the_place_of_the_secret(
    kubernetes: Any, webhook: Webhook, content: str, word: str
) -> None:
    keep(kubernetes, content)
    why = await webhook.send("rollout-webhook", "url", {})
    assert word in why
    assert "the key url of the Secret rollout-webhook" in why


@pytest.mark.parametrize(
    ("error", "word"),
    [(Refused("no", status=403), "Role"), (Unavailable("no"), "cannot be read now"), (None, "not there")],
)
async def test_a_secret_that_cannot_be_read_is_said(kubernetes: Any, webhook: Webhook, error: Any, word: str) -> None:
    kubernetes.failures += [error] * 3 if error else []
    assert word in await webhook.send("rollout-webhook", "url", {})


async def test_when_too_many_wait_the_oldest_are_dropped(kubernetes: Any, webhook: Webhook, service: Service) -> None:
    keep(kubernetes, service.answer(CANARY, ok))
    notifier = Notifier(webhook)
    notifier.post(WHERE, [letters.Letter(str(n), {"n": n}) for n in range(103)])
    sending = asyncio.ensure_future(notifier.run())
    await notifier.drained()
    sending.cancel()
    assert [json.loads(body)["n"] for body in service.bodies] == list(range(3, 103))


# -- in a rollout


@pytest_asyncio.fixture
async def cluster(service: Service) -> AsyncIterator[Cluster]:
    made = Cluster(MemoryStore(), http_allow=LOCAL)
    keep(made.kubernetes, service.answer(CANARY, ok))
    await made.apply(notify={"webhook": {"secret": "rollout-webhook", "key": "url"}})
    for _ in range(3):
        await made.look(1)
    yield made
    await made.controller.aclose()


async def sent(cluster: Cluster, service: Service) -> list[str]:
    """The texts that arrived, once everything that was queued is out."""
    sending = asyncio.ensure_future(cluster.controller.loops()["notifications"]())
    await cluster.controller.notified()
    sending.cancel()
    return [json.loads(body)["text"] for body in service.bodies]


async def test_people_are_told_of_a_promotion_a_hold_and_a_rollback(cluster: Cluster, service: Service) -> None:
    cluster.prometheus.counters = PASSING
    await cluster.look(3600)
    cluster.prometheus.down = True
    await cluster.look(60)
    await cluster.annotate(ABORT, "true")
    await cluster.look(60, times=2)
    texts = await sent(cluster, service)
    for word in (OPENINGS["Start"], OPENINGS["Promote"], OPENINGS["Hold"], OPENINGS["RollBack"]):
        assert [word in text for text in texts].count(True) == 1


async def test_nobody_is_told_twice_however_often_the_operator_begins_anew(cluster: Cluster, service: Service) -> None:
    first = len(await sent(cluster, service))
    for _ in range(3):
        await cluster.controller.aclose()
        cluster.restarted()
        await cluster.look(5)
    assert len(await sent(cluster, service)) == first == 1


async def test_the_flag_is_clear_before_the_webhook_is_told_of_a_rollback(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        cluster.controller._notifier, "post", lambda _, sent: seen.extend((cluster.flag, one.about) for one in sent)
    )
    cluster.prometheus.counters = FAILING
    await cluster.look(5)
    assert seen[0] == ({}, "shop/v2 RollBack CriterionFailed")


async def test_a_rollback_does_not_wait_for_a_webhook_that_hangs(cluster: Cluster, service: Service) -> None:
    released = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    service.answer(CANARY, hang)
    sending = asyncio.ensure_future(cluster.controller.loops()["notifications"]())
    cluster.prometheus.counters = FAILING
    await cluster.look(5)
    assert cluster.flag == {}
    released.set()
    sending.cancel()


async def test_a_webhook_that_is_named_later_is_not_told_old_news(service: Service) -> None:
    made = Cluster(MemoryStore(), http_allow=LOCAL)
    keep(made.kubernetes, service.answer(CANARY, ok))
    await made.apply()
    await made.look(times=3)
    body = made.body()
    body["spec"]["notify"] = {"webhook": {"secret": "rollout-webhook", "key": "url"}}
    await made.look(5)
    assert await sent(made, service) == []
    await made.controller.aclose()


async def test_the_address_is_in_no_log_no_event_no_status_and_no_row(
    cluster: Cluster, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.prometheus.counters = FAILING
    answers: list[Callable[[web.Request], web.Response]] = [lambda _: web.Response(status=404)]
    service.answer(CANARY, answers[0])
    await cluster.look(5)
    await sent(cluster, service)
    keep(cluster.kubernetes, f"https://127.0.0.1:1{CANARY}")
    await cluster.look(5, times=2)
    await sent(cluster, service)
    rows = await cluster.store.decisions(cluster.body()["metadata"]["uid"])
    everything = [capsys.readouterr(), cluster.kubernetes.events, cluster.body(), rows]
    assert "canary-of-the-webhook" not in str(everything)
    assert "a message for the webhook was not taken" in str(everything)
