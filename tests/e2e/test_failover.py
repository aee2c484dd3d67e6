"""Two operators, one Lease and four workers over one stream of executions and one rollout, while everything fails once.

Each operator reaches the API server and the database through proxies of its own. The leader is killed; stopped past its
Lease with writes of its own under way, and woken; cut off from the API server; cut off from the database. In between
the database dies. All the while a worker is killed every few seconds. `-s` shows how long nobody led.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import httpx
import pytest
from orchestrator_operator.adapters.leases import Leases
from orchestrator_operator.demo.services import SERVICE_ACCOUNT
from orchestrator_operator.leadership.record import name_of
from orchestrator_operator.local import LocalError
from sqlalchemy import make_url

from orchestrator.store import open_store
from tests.support.api_proxy import ApiProxy, Asked, Late
from tests.support.flag_tape import RAISING, FlagTape, State, recorded, undone, unexplained
from tests.support.fleet import Fleet
from tests.support.invariants import store_violations
from tests.support.polling import eventually
from tests.support.postgres import LocalPostgres
from tests.support.reaper import Reaper
from tests.support.rollout_documents import rollout
from tests.support.site import execution, orders
from tests.support.stream import Eyes, Stream
from tests.support.toxiproxy import Toxiproxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.support.live import ControlPlane
    from tests.support.site import Site
    from tests.support.toxiproxy import Proxy

pytestmark = pytest.mark.e2e

LEASE = int(os.environ.get("FAILOVER_LEASE", "4"))  # seconds
RATE = 4.0  # executions a second
STEPS = 2
WORKERS = 4
KILLED_EVERY = 5.0  # seconds
FIRST, SECOND = "operator", "operator-2"


@dataclass
class Story:
    """What was seen."""

    site: Site
    names: list[str] = field(default_factory=list)
    states: list[State] = field(default_factory=list)  # of the flag
    late: list[Late] = field(default_factory=list)  # writes of the one that was stopped, when they arrived
    after_cut: list[Late] = field(default_factory=list)  # of the one that was cut off
    led: dict[str, float] = field(default_factory=dict)  # seconds from a fault until another one led
    again: dict[str, float] = field(
        default_factory=dict
    )  # … until an execution created at that moment was in the store
    killed: int = 0
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Lines:
    """An operator's ways to the API server and to the database."""

    api: ApiProxy
    database: Proxy
    url: str

    @property
    def environ(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self.api.kubeconfig), "ORCHESTRATOR_DATABASE": self.url}


class Kubelet:
    """Starts operators again that have ended, while the block is; but for those that a test lets lie."""

    def __init__(self, site: Site, lines: dict[str, Lines]) -> None:
        self._site, self._lines = site, lines
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        self.lies: set[str] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.2):
            for name in (FIRST, SECOND):
                if name not in self.lies and not self._site.process(name).alive():
                    with suppress(LocalError):  # it has ended again: it is started again
                        self._start(name)

    def _start(self, name: str) -> None:
        if name == FIRST:
            self._site.start_instead(FIRST, environ=self._lines[FIRST].environ)
        else:
            self._site.start_second_operator(self._lines[SECOND].environ)


class Director:
    """Does it to whoever leads: the other one must lead then, though who was hit is started again later."""

    def __init__(self, story: Story, lines: dict[str, Lines], eyes: Eyes, kubelet: Kubelet) -> None:
        self.story, self.site, self.lines, self.eyes, self.kubelet = story, story.site, lines, eyes, kubelet
        self._leases = Leases(story.site.plane.kubernetes, story.site.namespace, "orchestrator-operator")

    def leader(self) -> str:
        found = self.site.plane.background.run(self._leases.get())
        return name_of(str(found["spec"].get("holderIdentity") or ""))

    def succeeded(self, fault: str, other: str) -> None:
        """Wait until the other one leads and acts; right after the fault."""
        began, probe = time.monotonic(), f"at-{fault.replace(' ', '-').lower()}"
        self.site.create(execution(probe, "orders", {"order": probe}))
        self.story.names.append(probe)
        eventually(lambda: self.leader() == other, f"{other} leads after {fault}", every=0.05)
        self.story.led[fault] = time.monotonic() - began
        there = f"SELECT 1 AS one FROM workflow_executions WHERE name = '{probe}'"
        eventually(lambda: self.site.query(there), f"{other} acts after {fault}", every=0.05)
        self.story.again[fault] = time.monotonic() - began

    @contextmanager
    def hitting(self, name: str, other: str) -> Iterator[None]:
        """While that one leads and the other one waits; at the end it is down."""
        eventually(lambda: self._answers(other), f"{other} waits")
        eventually(lambda: self.leader() == name, f"{name} leads")
        self.kubelet.lies.add(name)
        yield
        eventually(lambda: not self.site.process(name).alive(), f"the deposed {name} has ended")
        self.kubelet.lies.discard(name)

    def _answers(self, name: str) -> bool:
        try:
            return self.site.page(name, "/healthz").is_success
        except httpx.HTTPError:
            return False

    def promote(self, stage: str) -> None:
        """A person's word."""
        self.site.kubectl("annotate", "--overwrite", "enginerollout", "v2", f"orchestrator.dev/promote=force:{stage}")

    def until_percent(self, percent: str) -> None:
        self.eyes.until(lambda s: s.flag_percent == percent, f"{percent} % in the flag")

    # -- the faults, each in the middle of a promotion
    def kill(self) -> None:
        with self.hitting(FIRST, SECOND):
            self.promote("week-1")
            self.site.kill(FIRST)
            self.succeeded("kill", SECOND)
            self.until_percent("40")

    def stop_in_the_middle_of_writes(self) -> None:
        """Its writes arrive when another one has long been leading: the flag's, and statuses of executions."""
        api, site = self.lines[SECOND].api, self.site
        with self.hitting(SECOND, FIRST):
            hold = api.hold(lambda asked: flag_write(asked) or status_write(asked))
            self.promote("week-2")
            eventually(lambda: any(map(flag_write, hold.caught)), "a write of the flag")
            eventually(lambda: any(map(status_write, hold.caught)), "a write of a status")
            site.freeze(SECOND)
            self.succeeded("stop", FIRST)
            self.until_percent("60")
            site.until_over([asked.path.split("/")[-2] for asked in hold.caught if status_write(asked)])
            api.release(hold)
            eventually(lambda: len(api.late) == len(hold.caught), "the late writes have arrived")
            site.thaw(SECOND)
        self.story.late = list(api.late)

    def cut_off_the_api_server(self) -> None:
        api = self.lines[FIRST].api
        with self.hitting(FIRST, SECOND):
            api.cut()
            self.promote("week-3")
            self.succeeded("no API server", SECOND)
            self.until_percent("80")
        api.mend()
        eventually(lambda: api.late, "what it had sent has arrived")
        self.story.after_cut = list(api.late)

    def cut_off_the_database(self) -> None:
        line = self.lines[SECOND].database
        with self.hitting(SECOND, FIRST):
            for stream in ("upstream", "downstream"):
                line.poison("timeout", stream, timeout=0)  # what is sent is lost, and nobody is told
            self.promote("week-4")
            self.succeeded("no database", FIRST)
            self.until_percent("100")
        line.mend()


def flag_write(asked: Asked) -> bool:
    return asked.writes and asked.path.endswith("/secrets/orchestrator-flags")


def status_write(asked: Asked) -> bool:
    return asked.writes and "/executions/" in asked.path and asked.path.endswith("/status")


@pytest.fixture(scope="module")
def story(control_plane: ControlPlane) -> Iterator[Story]:
    folder = control_plane.folder / "failover-lines"
    account = control_plane.cluster.service_account_kubeconfig("failover", SERVICE_ACCOUNT)
    with ExitStack() as stack:
        server = stack.enter_context(LocalPostgres())
        database = server.create_database()
        toxi = stack.enter_context(Toxiproxy(folder))
        lines = {name: _lines(stack, control_plane, toxi, account, folder, name, database) for name in (FIRST, SECOND)}
        settings = {"ORCHESTRATOR_LEASE_DURATION": str(LEASE), "ORCHESTRATOR_PATIENCE": "2s"}
        site = stack.enter_context(
            control_plane.site("failover", database=database, operator={**settings, **lines[FIRST].environ})
        )
        site.start("shop", "operator")
        site.start_second_operator(lines[SECOND].environ)
        fleet = stack.enter_context(Fleet(database, folder, environment={"ORCHESTRATOR_V1": "builtin"}))
        for _ in range(WORKERS):
            fleet.start()
        site.apply(orders(site.shop, steps=STEPS))
        site.until_condition("Workflow", "orders", "Valid", "True")
        told = Story(site)
        stream = Stream(site, lambda n: execution(f"order-{n}", "orders", {"order": f"order-{n}"}), RATE)
        kubelet = stack.enter_context(Kubelet(site, lines))
        with Eyes(site) as eyes, FlagTape(site) as tape, Reaper(fleet, KILLED_EVERY) as reaper, stream:
            site.apply(rollout("v2", *((percent, "1h") for percent in (20, 40, 60, 80, 100))))
            director = Director(told, lines, eyes, kubelet)
            director.until_percent("20")
            director.kill()
            server.kill()
            server.start()
            director.stop_in_the_middle_of_writes()
            director.cut_off_the_api_server()
            director.cut_off_the_database()
            director.promote("week-5")
            eyes.until(lambda s: s.phase == "Completed", "Completed")
        told.killed, told.states = reaper.killed, tape.states
        told.names += stream.names
        _settle(told, site, database)
        print(f"\nLease {LEASE} s; until another one led: {_shown(told.led)}; until it acted: {_shown(told.again)}")  # noqa: T201 - a measurement, for `-s`
        yield told


def _lines(
    stack: ExitStack, plane: ControlPlane, toxi: Toxiproxy, account: Path, folder: Path, name: str, database: str
) -> Lines:
    api = stack.enter_context(ApiProxy(plane.background, account, folder / name))
    url = make_url(database)
    assert url.port is not None
    line = toxi.proxy(name, url.port)
    return Lines(api, line, url.set(port=line.port).render_as_string(hide_password=False))


def _settle(told: Story, site: Site, database: str) -> None:
    """V2 comes to its end, and is looked at event by event. (V1's executions stay where their worker died.)"""
    eventually(lambda: len(_rows(site, "true")) >= len(told.names), "every execution in the store")
    eventually(lambda: not _rows(site, "engine = 'v2' AND finished_at IS NULL"), "the end of V2's executions")

    async def look(ids: Sequence[str]) -> list[str]:
        store = await open_store(database)
        try:
            return await store_violations(store, ids)
        finally:
            await store.close()

    ids = [row["id"] for row in _rows(site, "engine = 'v2'")]
    told.violations = site.plane.background.run(look(ids))


def _rows(site: Site, where: str) -> list[dict[str, str]]:
    return site.query(f"SELECT id, name, status FROM workflow_executions WHERE {where}")


def _shown(seconds: dict[str, float]) -> str:
    return ", ".join(f"{fault} {value:.1f} s" for fault, value in seconds.items())


def log(story: Story, name: str) -> str:
    return (story.site.logs / f"{name}.log").read_text()


def test_each_execution_is_submitted_once(story: Story) -> None:
    assert sorted(row["name"] for row in _rows(story.site, "true")) == sorted(story.names)


def test_each_decision_is_made_once_and_the_flag_never_rises_without_one(story: Story) -> None:
    assert Counter(row["action"] for row in recorded(story.site) if row["action"] in RAISING) == {
        "Start": 1,
        "Promote": 4,
        "Complete": 1,
    }
    assert unexplained(story.site, story.states) == []
    assert undone(story.site) == []


def test_late_writes_of_a_deposed_leader_are_refused_by_their_version(story: Story) -> None:
    """Of the flag and of executions; they left it while it led."""
    assert any(flag_write(late.asked) for late in story.late)
    assert any(status_write(late.asked) for late in story.late)
    assert {late.status for late in story.late} == {409}


def test_what_a_deposed_leader_would_write_after_that_its_gate_refuses(story: Story) -> None:
    refused = [line for line in log(story, SECOND).splitlines() if "status not written" in line]
    assert any("does not lead" in line for line in refused)


def test_what_one_had_sent_that_was_cut_off_changes_nothing(story: Story) -> None:
    assert story.after_cut
    assert {late.status for late in story.after_cut} == {409}


def test_one_without_its_database_hands_over_to_one_that_has_it(story: Story) -> None:
    assert "asked for it: store: nothing for" in log(story, SECOND)


def test_v2_executions_end_well_while_workers_are_killed_and_the_database_dies(story: Story) -> None:
    assert story.killed >= WORKERS
    assert {row["status"] for row in _rows(story.site, "engine = 'v2'")} == {"success"}
    assert story.violations == []


def test_every_step_of_v2_has_its_effect_once(story: Story) -> None:
    keys = [row["key"] for row in story.site.ledger_query("SELECT key FROM effects WHERE engine = 'v2'")]
    wanted = [f"{row['id']}/step{n}" for row in _rows(story.site, "engine = 'v2'") for n in range(STEPS)]
    assert sorted(keys) == sorted(wanted)
    assert story.site.ledger().doubled["v2"] == 0
