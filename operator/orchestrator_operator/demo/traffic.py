"""A steady stream of Executions as custom resources, each with its own input.

An open loop: the i-th one is due at `start + i / rate`, whether or not the ones before it are answered, so that a slow
stack cannot hide by slowing its own callers down. What is reported is what was achieved, not what was asked for.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator_operator.adapters.kubernetes import Conflict, KubernetesError
from orchestrator_operator.specs import EXECUTIONS, GROUP, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.specs import Resource

_AT_ONCE = 32  # creations in flight; more would only queue in the API server
_WINDOW = 5.0  # seconds over which the present rate is measured
_CUSTOMERS = ("ada", "grace", "edsger", "barbara", "tony", "frances")
_GOODS = ("kettle", "lamp", "chair", "notebook", "radio", "bicycle")


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of the stream so far. Rates are creations a second that the API server acknowledged."""

    wanted: float
    created: int
    errors: int
    last_error: str
    rate_now: float
    rate: float


def order(run: str, number: int, shop: str, namespace: str) -> dict[str, Any]:
    """The Execution of that number: the two workflows take turns, and nothing but the arguments decides its input."""
    chance = random.Random(f"{run}/{number}")  # noqa: S311 - sample data, repeatable on purpose
    order_id = f"{run}-{number:06d}"
    quantities = [chance.randint(1, 3) for _ in range(chance.randint(1, 3))]
    items = [{"sku": chance.choice(_GOODS), "quantity": quantity, "price": 35} for quantity in quantities]
    amount = 35 * sum(quantities)
    inputs: Mapping[str, Mapping[str, Any]] = {
        "order-fulfilment": {
            "shop": shop,
            "orderId": order_id,
            "customer": chance.choice(_CUSTOMERS),
            "amount": amount,
            "items": items,
        },
        "fan-out": {"shop": shop, "orderId": order_id, "amount": amount},
    }
    workflow = ("order-fulfilment", "fan-out")[number % 2]
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Execution",
        "metadata": {"name": f"{workflow}-{order_id}", "namespace": namespace, "labels": {"demo": run}},
        "spec": {"workflow": workflow, "input": inputs[workflow]},
    }


class Creates(Protocol):
    """The one thing that the stream needs of the Kubernetes API."""

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]: ...


class Traffic:
    """The stream. `start` it once; `stop` waits for the creations in flight."""

    def __init__(self, api: Creates, *, namespace: str, shop: str, rate: float, run: str) -> None:
        self._api, self._namespace, self._shop, self._rate, self._run = api, namespace, shop, rate, run
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._recent: deque[float] = deque()
        self._began = self._ended = 0.0
        self._created = self._errors = 0
        self._last_error = ""
        self._going = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self._going.set()
        self._task = asyncio.create_task(self._run_loop(), name="traffic")

    async def stop(self) -> None:
        """No new ones; returns when those in flight are answered."""
        self._going.clear()
        if self._task is not None:
            await self._task
            self._task = None
            self._ended = asyncio.get_running_loop().time()

    def elapsed(self) -> float:
        """Seconds since the first creation was due; 0 before the start."""
        return asyncio.get_running_loop().time() - self._began if self._began else 0.0

    def sent(self) -> Sent:
        """The count and the rates as of now."""
        now = asyncio.get_running_loop().time()
        while self._recent and self._recent[0] < now - _WINDOW:
            self._recent.popleft()
        elapsed = max((self._ended or now) - self._began, 0.001) if self._began else 1.0
        window = min(_WINDOW, elapsed)
        return Sent(
            wanted=self._rate,
            created=self._created,
            errors=self._errors,
            last_error=self._last_error,
            rate_now=0.0 if self._ended else len(self._recent) / window,
            rate=self._created / elapsed,
        )

    async def _run_loop(self) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        async with asyncio.TaskGroup() as group:
            while self._going.is_set():
                await asyncio.sleep(max(0.0, self._began + number / self._rate - loop.time()))
                await self._free.acquire()
                group.create_task(self._create(number))
                number += 1

    async def _create(self, number: int) -> None:
        body = order(self._run, number, self._shop, self._namespace)
        try:
            await self._api.create(EXECUTIONS, self._namespace, body)
        except Conflict:
            pass  # names are ours alone: the answer to the first try was lost, the object is there
        except KubernetesError as error:
            self._errors += 1
            self._last_error = str(error)
            return
        finally:
            self._free.release()
        self._created += 1
        self._recent.append(asyncio.get_running_loop().time())
