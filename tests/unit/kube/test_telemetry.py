"""The operator counts what it does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web
from kubernetes_asyncio import client as kubernetes_client
from orchestrator_operator.adapters.kubernetes import Kubernetes, NotFound, Unavailable
from orchestrator_operator.flagmetrics import STATES, FlagCollector
from orchestrator_operator.handlers.guard import Guard
from orchestrator_operator.routing import RoutingFacts
from orchestrator_operator.specs import EXECUTIONS, WORKFLOWS
from prometheus_client import CollectorRegistry

from orchestrator.errors import StoreUnavailable
from orchestrator.flag import UNREAD, FlagValues, parse
from orchestrator.router import Owner
from orchestrator.testing import FakeClock
from tests.support.measured import Growth

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orchestrator.flag import FlagState

LOOKS, ERRORS = "orchestrator_reconcile_duration", "orchestrator_reconcile_errors"


async def handled(error: BaseException | None) -> None:
    async def handle() -> None:
        if error is not None:
            raise error

    async def quarantine(_: str) -> None: ...

    await Guard().call(WORKFLOWS, "k", handle, quarantine)


@pytest.mark.parametrize(
    ("error", "errors"),
    [(None, 0), (NotFound("it was deleted"), 0), (StoreUnavailable("away"), 1), (ZeroDivisionError(), 1)],
    ids=["well", "gone", "store away", "defect"],
)
async def test_each_look_is_timed_and_what_fails_is_an_error(error: BaseException | None, errors: int) -> None:
    looks, failures = Growth(LOOKS), Growth(ERRORS)
    await handled(error)
    assert looks.so_far() == {("workflows",): 1}
    assert failures.so_far() == ({("workflows",): 1} if errors else {})


@pytest_asyncio.fixture
async def server() -> AsyncIterator[tuple[list[int], Kubernetes]]:
    """An API server that answers with these codes, in turn; 0 hangs up."""
    codes: list[int] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        code = codes.pop(0)
        if code == 0:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"message": "in words"}, status=code or 200)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = kubernetes_client.Configuration()
    configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    kubernetes = Kubernetes(kubernetes_client.ApiClient(configuration), attempts=3)
    yield codes, kubernetes
    await kubernetes.aclose()
    await runner.cleanup()


async def test_every_request_counts_the_repeated_ones_too(server: tuple[list[int], Kubernetes]) -> None:
    server[0].extend([503, 429, 200])
    requests, times = Growth("orchestrator_kubernetes_requests"), Growth("orchestrator_kubernetes_request_duration")
    await server[1].get(EXECUTIONS, "shop", "one")
    assert requests.so_far() == {("GET", "503"): 1, ("GET", "429"): 1, ("GET", "200"): 1}
    assert times.so_far() == {("GET",): 3}


async def test_a_server_that_never_answers_is_code_0(server: tuple[list[int], Kubernetes]) -> None:
    server[0].extend([0, 0, 0])
    requests = Growth("orchestrator_kubernetes_requests")
    with pytest.raises(Unavailable):
        await server[1].patch_status(EXECUTIONS, "shop", "one", {}, resource_version="1")
    assert requests.so_far() == {("PATCH", "0"): 3}


class Routing:
    def __init__(self, flag: FlagState, owner: Owner | None) -> None:
        self._facts = RoutingFacts(flag, owner)

    def facts(self, now: datetime) -> RoutingFacts:
        return self._facts


@pytest.mark.parametrize(
    ("values", "owner", "percent", "state"),
    [
        (FlagValues(), None, 0, "FlagOff"),
        (FlagValues("true", "12.5"), Owner.ACTIVE, 12.5, "Percent"),
        (FlagValues("true"), Owner.COMPLETED, 100, "FlagOn"),
        (FlagValues("true"), Owner.ACTIVE, 0, "FlagConflict"),
        (FlagValues("true", "much"), None, 0, "InvalidFlag"),
        (FlagValues("true", "5", "2000-01-01T00:00:00Z"), None, 0, "Expired"),
        (None, None, 0, "FlagUnavailable"),
    ],
)
def test_the_flag_is_exported_as_the_router_obeys_it(
    values: FlagValues | None, owner: Owner | None, percent: float, state: str
) -> None:
    found = collected(UNREAD if values is None else parse(values, FakeClock().now()), owner)
    assert found["orchestrator_flag_percent", ()] == percent
    assert {key[1][0]: value for key, value in found.items() if key[0] == "orchestrator_flag_state"} == {
        name: float(name == state) for name in STATES
    }


def test_the_expiry_is_there_while_there_is_one() -> None:
    name = "orchestrator_flag_expires_timestamp_seconds"
    with_one = collected(parse(FlagValues("true", "5", "2100-01-01T00:00:00Z"), FakeClock().now()), None)
    assert with_one[name, ()] == datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    assert (name, ()) not in collected(parse(FlagValues("true", "5"), FakeClock().now()), None)


def collected(flag: FlagState, owner: Owner | None) -> dict[tuple[str, tuple[str, ...]], Any]:
    registry = CollectorRegistry()
    registry.register(FlagCollector(Routing(flag, owner), FakeClock()))
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in registry.collect()
        for sample in family.samples
    }
