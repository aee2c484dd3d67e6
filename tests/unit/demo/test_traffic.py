"""The stream: open loop, honest about what was achieved."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orchestrator_operator.adapters.kubernetes import Conflict, Refused
from orchestrator_operator.demo.traffic import Traffic, order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator_operator.specs import Resource


class Creations:
    """An API that remembers what was created; `answer` may raise for a number."""

    def __init__(self, answer: Callable[[int], None] = lambda _: None) -> None:
        self.bodies: list[Mapping[str, Any]] = []
        self.enough = asyncio.Event()
        self._answer = answer

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        del resource, namespace
        self.bodies.append(body)
        if len(self.bodies) >= 10:
            self.enough.set()
        self._answer(len(self.bodies))
        return dict(body)


async def run(api: Creations) -> Traffic:
    traffic = Traffic(api, namespace="shop", shop="http://shop", rate=500, run="r")
    traffic.start()
    await asyncio.wait_for(api.enough.wait(), 10)
    await traffic.stop()
    return traffic


async def test_what_was_created_is_what_is_counted() -> None:
    api = Creations()
    sent = (await run(api)).sent()
    assert (sent.created, sent.errors) == (len(api.bodies), 0)


async def test_nothing_is_created_after_stop() -> None:
    api = Creations()
    await run(api)
    count = len(api.bodies)
    await asyncio.sleep(0)
    assert len(api.bodies) == count


async def test_a_refusal_is_counted_and_told() -> None:
    def refuse_the_third(number: int) -> None:
        if number == 3:
            raise Refused("no such namespace")

    sent = (await run(Creations(refuse_the_third))).sent()
    assert (sent.errors, sent.last_error) == (1, "no such namespace")


async def test_a_lost_answer_that_comes_back_as_a_conflict_counts_as_created() -> None:
    def there_already(number: int) -> None:
        if number == 3:
            raise Conflict("exists")

    api = Creations(there_already)
    sent = (await run(api)).sent()
    assert (sent.created, sent.errors) == (len(api.bodies), 0)


def test_the_two_workflows_take_turns() -> None:
    workflows = [order("r", number, "http://shop", "ns")["spec"]["workflow"] for number in range(4)]
    assert workflows == ["order-fulfilment", "fan-out", "order-fulfilment", "fan-out"]


def test_each_execution_has_an_input_and_a_name_of_its_own() -> None:
    made = [order("r", number, "http://shop", "ns") for number in range(50)]
    assert len({one["metadata"]["name"] for one in made}) == 50
    assert len({one["spec"]["input"]["orderId"] for one in made}) == 50


def test_the_same_number_of_a_run_is_the_same_execution() -> None:
    assert order("r", 7, "http://shop", "ns") == order("r", 7, "http://shop", "ns")
