"""Of several operators one acts: by a Lease of the real API server, candidate against candidate and as processes."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.adapters.kubernetes import Kubernetes
from orchestrator_operator.adapters.leases import Leases
from orchestrator_operator.leadership.leader import Deposed, Leader, boot_time
from orchestrator_operator.leadership.record import identity

from orchestrator.clock import SystemClock
from tests.support.polling import eventually
from tests.support.site import execution, orders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

DURATION = 3  # seconds: the shortest that the settings accept
LEASE = "orchestrator-operator"


class Candidates:
    """Candidates for one Lease of the namespace `default`."""

    def __init__(self, kubernetes: Kubernetes, lease: str) -> None:
        self.kubernetes, self.lease = kubernetes, lease

    def one(self, name: str, nonce: str = "1") -> Leader:
        leases = Leases(self.kubernetes, "default", self.lease)
        return Leader(leases, identity(name, nonce), DURATION, SystemClock())

    async def holder(self) -> str:
        found = await Leases(self.kubernetes, "default", self.lease).get()
        return str(found["spec"]["holderIdentity"])


@asynccontextmanager
async def kept(leader: Leader) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(leader.keep())
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def candidates(control_plane: ControlPlane, request: pytest.FixtureRequest) -> AsyncIterator[Candidates]:
    client = await Kubernetes.connect(str(control_plane.cluster.kubeconfig))
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60].strip("-")
    yield Candidates(client, name)
    await client.aclose()


async def test_the_first_one_leads_and_the_second_one_waits(candidates: Candidates) -> None:
    first, second = candidates.one("a"), candidates.one("b")
    await first.take()
    async with kept(first):
        waiting = asyncio.create_task(second.take())
        done, _ = await asyncio.wait({waiting}, timeout=DURATION + 1)  # longer than an unrenewed Lease would last
        assert not done
        assert first.leads
        with pytest.raises(Deposed):
            second.check()
        waiting.cancel()


async def test_what_is_given_back_is_taken_at_once(candidates: Candidates) -> None:
    first, second = candidates.one("a"), candidates.one("b")
    await first.take()
    await first.give_back()
    assert not first.leads
    await second.take()
    assert await candidates.holder() == second.me


async def test_one_that_falls_silent_stops_before_the_next_one_begins(candidates: Candidates) -> None:
    first, second = candidates.one("a"), candidates.one("b")
    await first.take()
    both: list[float] = []
    waiting = asyncio.create_task(second.take())
    while not waiting.done():
        if first.leads and second.leads:
            both.append(boot_time())
        await asyncio.sleep(0)
    assert second.leads
    assert not first.leads
    assert both == []


async def test_a_restart_under_the_same_name_leads_at_once_and_deposes_the_process_before_it(
    candidates: Candidates,
) -> None:
    before, after = candidates.one("a", "1"), candidates.one("a", "2")
    await before.take()
    await after.take()
    async with kept(after):
        await asyncio.wait_for(before.keep(), DURATION)
        with pytest.raises(Deposed):
            before.check()
        assert after.leads


async def test_a_lease_that_somebody_annotates_is_kept(candidates: Candidates, control_plane: ControlPlane) -> None:
    leader = candidates.one("a")
    await leader.take()
    async with kept(leader) as keeping:
        control_plane.kubectl("annotate", "lease", candidates.lease, "--namespace=default", "seen=yes")
        done, _ = await asyncio.wait({keeping}, timeout=DURATION + 1)
        assert not done
        assert leader.leads


async def test_a_lease_that_somebody_deletes_is_made_again(candidates: Candidates, control_plane: ControlPlane) -> None:
    leader = candidates.one("a")
    await leader.take()
    async with kept(leader) as keeping:
        control_plane.kubectl("delete", "lease", candidates.lease, "--namespace=default")
        done, _ = await asyncio.wait({keeping}, timeout=DURATION + 1)
        assert not done
    assert await candidates.holder() == leader.me


async def test_two_that_take_it_at_once_are_one_leader(candidates: Candidates) -> None:
    crowd = [candidates.one(f"operator-{n}") for n in range(8)]
    taking = {asyncio.create_task(one.take()) for one in crowd}
    await asyncio.wait(taking, return_when=asyncio.FIRST_COMPLETED)
    assert sum(one.leads for one in crowd) == 1
    for task in taking:
        task.cancel()
    await asyncio.gather(*taking, return_exceptions=True)


async def test_a_deposed_one_writes_nothing(candidates: Candidates, control_plane: ControlPlane) -> None:
    leader = candidates.one("a")
    client = await Kubernetes.connect(str(control_plane.cluster.kubeconfig))
    client.gate = leader.check
    with pytest.raises(Deposed):
        await client.patch_secret("default", "flags", {"USE_ORCHESTRATOR_V2": "true"})
    await client.aclose()


# -- two processes, of which the leading one is stopped in the middle of its work and goes on later


@pytest.fixture(scope="module")
def pair(control_plane: ControlPlane) -> Iterator[Site]:
    settings = {"ORCHESTRATOR_LEASE_DURATION": str(DURATION)}
    with control_plane.site("leaders", operator=settings) as site:
        site.start()
        site.start_second_operator()
        site.apply(orders(site.shop, steps=1))
        site.until_condition("Workflow", "orders", "Valid", "True")
        site.create(execution("first", "orders", {"order": "first"}))
        site.until_over(["first"])
        site.freeze("operator")
        site.create(*(execution(f"order-{n}", "orders", {"order": f"order-{n}"}) for n in range(5)))
        site.notes["ended"] = site.until_over([f"order-{n}" for n in range(5)])
        site.notes["holder"] = holder(site)
        site.thaw("operator")
        eventually(lambda: not site.process("operator").alive(), "the deposed operator has ended")
        site.start("operator")
        yield site


def holder(site: Site) -> str:
    return site.kubectl("get", "lease", LEASE, "--output=jsonpath={.spec.holderIdentity}")


def test_the_second_operator_takes_over_from_one_that_stands_still(pair: Site) -> None:
    assert {one["phase"] for one in pair.notes["ended"].values()} == {"Success"}
    assert pair.notes["holder"].startswith("operator-2_")


def test_one_that_wakes_up_deposed_ends_and_says_why(pair: Site) -> None:
    log = (pair.logs / "operator.log").read_text()
    assert "leads no more" in log


def test_started_again_it_waits_and_says_for_whom(pair: Site) -> None:
    eventually(lambda: "another operator leads" in (pair.logs / "operator.log").read_text(), "it waits")
    assert holder(pair).startswith("operator-2_")
    assert "orchestrator_operator_leader 0.0" in pair.metrics("operator")


def test_a_leader_that_is_told_to_end_gives_the_lease_back(pair: Site) -> None:
    before = holder(pair)
    pair.stop("operator-2")
    eventually(lambda: holder(pair) not in {"", before}, "the other one leads")
    assert holder(pair).startswith("operator_")
