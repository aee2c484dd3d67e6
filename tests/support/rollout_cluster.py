"""Everything around one rollout controller: a fake API server, a store, a Prometheus behind HTTP, a clock in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator_operator.adapters.kubernetes import decode
from orchestrator_operator.adapters.prometheus import Prometheus
from orchestrator_operator.rollout.controller import RolloutController
from orchestrator_operator.specs import ROLLOUTS

from orchestrator.flag import ENABLED, KEYS
from orchestrator.testing import FakeClock
from tests.support.cluster import NAMESPACE, FakeKubernetes, document
from tests.support.prometheus import FakePrometheus, counters
from tests.support.rollouts import DOCUMENT

if TYPE_CHECKING:
    from orchestrator.nodes.addresses import AllowList
    from orchestrator.store import Store

SECRET = "orchestrator-flags"
ZERO = counters("5", (0, 0), (0, 0))
GOOD = counters("5", (60, 5940), (2, 398))
PASSING = counters("5", (19_000, 100_000), (600, 5600))
FAILING = counters("5", (20, 1880), (60, 40))


class Cluster:
    """Everything around one controller. `look` lets the watch catch up and reconciles."""

    def __init__(self, store: Store, http_allow: AllowList | None = None) -> None:
        self.clock, self.store, self.http_allow = FakeClock(), store, http_allow
        self.kubernetes: Any = FakeKubernetes(self.clock)
        self.kubernetes.add_secret(SECRET)
        self.prometheus = FakePrometheus()
        self.prometheus.counters = ZERO
        self.controller = self.restarted()

    def restarted(self) -> RolloutController:
        """The operator's process was replaced: a controller without any memory."""
        self.controller = RolloutController(
            kubernetes=self.kubernetes,
            store=self.store,
            prometheus=Prometheus("http://prometheus", transport=self.prometheus.transport()),
            clock=self.clock,
            namespace=NAMESPACE,
            flag_secret=SECRET,
            http_allow=self.http_allow,
        )
        return self.controller

    async def apply(self, name: str = "v2", **changes: Any) -> None:
        await self.kubernetes.create(ROLLOUTS, NAMESPACE, document(ROLLOUTS, name, {**DOCUMENT, **changes}))

    async def annotate(self, key: str, value: str, name: str = "v2") -> None:
        await self.kubernetes.patch(ROLLOUTS, NAMESPACE, name, {"metadata": {"annotations": {key: value}}})

    async def look(self, seconds: float = 0.0, name: str = "v2", times: int = 1) -> float:
        """Let time go by, let the controller see the resources, and reconcile one until nothing is due at once."""
        self.clock.advance(seconds)
        due = 0.0
        for _ in range(times):
            for body in await self.kubernetes.list(ROLLOUTS, NAMESPACE):
                await self.controller.handle(body)
            for _ in range(5):
                due = await self.controller.reconcile(self.body(name)["metadata"]["uid"]) if self.there(name) else -1
                if due != 0.0:
                    break
        return due

    async def facts(self) -> Any:
        """What the router would be told after its next look at the flag."""
        await self.controller._flag.look()
        return self.controller.facts(self.clock.now())

    def there(self, name: str = "v2") -> bool:
        return (ROLLOUTS.plural, NAMESPACE, name) in self.kubernetes.objects

    def body(self, name: str = "v2") -> Any:
        return self.kubernetes.objects[ROLLOUTS.plural, NAMESPACE, name]

    def status(self, name: str = "v2") -> Any:
        return self.body(name).get("status") or {}

    def state(self, name: str = "v2") -> tuple[str, str]:
        return self.status(name).get("phase"), self.status(name).get("reason")

    @property
    def flag(self) -> dict[str, str]:
        data = self.kubernetes.objects["secrets", NAMESPACE, SECRET].get("data") or {}
        return {key: decode(value) for key, value in data.items()}

    async def write_flag(self, **values: str | None) -> None:
        """Another hand on the Secret."""
        await self.kubernetes.patch_secret(
            NAMESPACE, SECRET, {f"{ENABLED}{key}": value for key, value in values.items()}
        )

    async def clear_flag(self) -> None:
        await self.kubernetes.patch_secret(NAMESPACE, SECRET, dict.fromkeys(KEYS))

    def condition(self, kind: str, name: str = "v2") -> Any:
        return next(item for item in self.status(name)["conditions"] if item["type"] == kind)


async def a_whole_story(store: Store) -> Cluster:
    """A rollout that is promoted, extended, goes blind, is held, is convicted and rolled back, and starts again."""
    cluster = Cluster(store)
    await cluster.apply(analysis={**DOCUMENT["analysis"], "restart": "20m"})
    await cluster.look(times=3)
    for minutes in (10, 30, 50):  # a row at each, two restarts of the evidence
        cluster.prometheus.counters = counters("5", (60 + minutes, 5940), (2, 398))
        await cluster.look(20 * 60)
    cluster.prometheus.counters = PASSING
    await cluster.look(20 * 60, times=2)
    cluster.prometheus.down = True
    await cluster.look(60, times=2)
    cluster.prometheus.down = False
    await cluster.look(60, times=2)
    cluster.prometheus.counters = [*PASSING, *counters("25", (20, 180), (60, 40))]
    await cluster.look(60, times=3)
    await cluster.kubernetes.patch(ROLLOUTS, NAMESPACE, "v2", {"spec": {"attempt": 2}})
    cluster.prometheus.counters = ZERO
    await cluster.look(3 * 3600, times=4)
    return cluster
