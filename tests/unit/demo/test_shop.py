"""The shop over real HTTP: what it accepts, what it refuses, the switch that makes V2 fail."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from orchestrator_operator.demo.ledger import unlucky
from orchestrator_operator.demo.shop import Shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    Client = TestClient[web.Request, web.Application]

LUCKY = next(f"o{n}" for n in range(1000) if not unlucky(f"o{n}"))


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Client]:
    async with TestClient(TestServer(Shop(tmp_path / "ledger.db").application())) as client:
        yield client


async def sell(shop: Client, path: str, key: str, engine: str = "v2", **body: Any) -> tuple[int, Any]:
    headers = {"Idempotency-Key": key, "X-Orchestrator-Engine": engine}
    async with shop.post(path, json={"order": LUCKY, **body}, headers=headers) as response:
        return response.status, await response.json()


@pytest.mark.parametrize(
    ("path", "field"),
    [("/reserve", "hold"), ("/charge", "receipt"), ("/ship", "parcel"), ("/notify", "notice"), ("/quote", "price")],
)
async def test_each_service_answers_with_its_receipt(shop: Client, path: str, field: str) -> None:
    status, body = await sell(shop, path, "k")
    assert (status, body["order"], field in body) == (200, LUCKY, True)


async def test_requests_with_one_key_at_once_have_one_effect(shop: Client) -> None:
    answers = await asyncio.gather(*(sell(shop, "/charge", "same") for _ in range(20)))
    async with shop.get("/ledger") as response:
        books = await response.json()
    assert len({str(answer) for answer in answers}) == 1
    assert (books["requests"], books["effects"], books["keys_with_many_effects"]) == (20, 1, 0)


async def test_the_switch_makes_one_engine_fail_and_ends_again(shop: Client) -> None:
    for share in (1.0, 0.0):
        async with shop.post("/admin/faults", json={"engine": "v2", "share": share, "status": 503}) as response:
            assert response.status == 200
        seen = [(await sell(shop, "/ship", f"{engine}/{share}", engine))[0] for engine in ("v1", "v2")]
        assert seen == [200, 503 if share else 200]


@pytest.mark.parametrize(
    "body",
    [{"engine": "v3", "share": 1}, {"engine": "v2", "share": 2}, {"engine": "v2", "share": 1, "status": 200}, [], {}],
)
async def test_a_senseless_switch_is_refused(shop: Client, body: Any) -> None:
    async with shop.post("/admin/faults", json=body) as response:
        assert (response.status, "error" in await response.json()) == (400, True)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"order": 7}', b"\xff"])
async def test_a_body_without_an_order_is_refused(shop: Client, content: bytes) -> None:
    async with shop.post("/reserve", data=content, headers={"Content-Type": "application/json"}) as response:
        assert response.status == 400


async def test_it_says_that_it_is_up(shop: Client) -> None:
    async with shop.get("/healthz") as response:
        assert response.status == 200
