"""An operator that is killed at every step of its rollout controller, on the real API server: the next one repairs it.

One story, in which the operator's process ends at the first occurrence of each step, before it and after it: started,
promoted, restarts of the evidence, bins of own counters, aborted by a person, cancelled, drained, deleted. In process,
tests/unit/rollout/test_steps.py ends it at every occurrence.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle, groupby, product
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.local import Target
from orchestrator_operator.rollout.log.recorder import read_all
from orchestrator_operator.rollout.log.verify import Verified, verify
from orchestrator_operator.rollout.steps import Moment, Step

from orchestrator.store import open_store
from tests.support.exporting import Exporter
from tests.support.flag_tape import FlagTape, State, recorded, undone, unexplained
from tests.support.live import ROOT
from tests.support.mortal_operator import PLACES, deaths
from tests.support.polling import eventually
from tests.support.rollout_documents import rollout
from tests.support.site import execution, workflow
from tests.support.stream import Eyes, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

RATE = 4.0  # executions a second
SLEEPER = workflow("sleeper", {"id": "a", "type": "wait", "with": {"duration": "1h"}})
OWN = {"name": "own", "type": "comparison", "required": False} | {
    field: f'mortal_{counter}_total{{engine="$engine"}}' for field, counter in (("bad", "refunds"), ("total", "orders"))
}
FAILURES = {"name": "failures", "type": "comparison", "preset": "failures"}
RUNNING = (Step.REMEMBER_BINS, Step.REMEMBER_TOTALS, Step.TELL)  # while a stage runs, once it has begun
ANALYSIS = {"ages": ["1s"], "restart": "2s", "interval": "1s", "minimumExecutions": 1, "underpowered": "Promote"}


@dataclass
class Story:
    """What is left of it."""

    site: Site
    deaths: list[Any] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)  # how many of them there were at the end of each attempt
    rows: list[dict[str, Any]] = field(default_factory=list)
    verified: Verified | None = None


@pytest.fixture(scope="module")
def story(control_plane: ControlPlane) -> Iterator[Story]:
    with control_plane.site("mortal") as site, Exporter() as shop:
        shop.page = {
            f'mortal_{counter}_total{{engine="{engine}"}}': 5.0
            for counter in ("refunds", "orders")
            for engine in ("v1", "v2")
        }
        ledger = site.folder / "deaths.txt"
        mortal = [sys.executable, "-m", "tests.support.mortal_operator", str(ledger)]
        with control_plane.scraping(Target("shop", shop.address)):
            site.start_instead("operator", command=mortal, environ={"PYTHONPATH": str(ROOT)})
            site.start("worker")
            site.apply(SLEEPER)
            site.until_condition("Workflow", "sleeper", "Valid", "True")
            story = Story(site)
            with Eyes(site) as eyes, FlagTape(site) as tape:
                _told(story, eyes, tape)
                story.states = tape.states
            story.deaths = deaths(ledger)
        story.rows = recorded(site)
        story.verified = asyncio.run(_verified(site.database, story.rows[0]["rollout"]))
        yield story


def _told(story: Story, eyes: Eyes, tape: FlagTape) -> None:
    """A place has its turn only in a life that outlived the places before it: hence three attempts."""
    site, ledger = story.site, story.site.folder / "deaths.txt"
    stages = [
        {"name": "week-1", "percent": 30, "duration": "1s"},
        {"name": "week-2", "percent": 60, "duration": "15m", "approval": True},
        {"name": "week-3", "percent": 100, "duration": "15m"},
    ]
    document = rollout(
        "v2",
        stages=stages,
        analysis={**ANALYSIS, "extend": "0s"},
        criteria=[FAILURES, OWN],
        rollback={"inFlight": "Cancel", "cooldown": "0s"},
    )

    def aborted() -> None:
        site.kubectl("annotate", "enginerollout", "v2", "orchestrator.dev/abort=enough")
        tape.until_clear("a flag that is clear")
        eyes.until(lambda s: s.phase == "RolledBack", "RolledBack")

    with Stream(site, lambda n: execution(f"sleeper-{n}", "sleeper"), RATE):
        site.apply(document)
        eyes.until(lambda s: s.flag_percent == "30", "the first stage")
        words = cycle(("pause", "resume"))  # something to tell, again and again

        def dead() -> bool:
            if {*product(RUNNING, Moment)} <= {*deaths(ledger)}:
                return True
            site.kubectl("annotate", "--overwrite", "enginerollout", "v2", f"orchestrator.dev/{next(words)}=true")
            return False

        eventually(dead, "an end at every step of a stage that runs", every=1.0)
        site.kubectl("annotate", "--overwrite", "enginerollout", "v2", "orchestrator.dev/resume=true")
        site.kubectl("annotate", "enginerollout", "v2", "orchestrator.dev/approve=week-2")
        eyes.until(lambda s: s.flag_percent == "60", "the second stage")
        aborted()
        for attempt in (2, 3):
            story.ends.append(len(tape.states))
            site.kubectl(
                "patch", "enginerollout", "v2", "--type=merge", "-p", json.dumps({"spec": {"attempt": attempt}})
            )
            eyes.until(lambda s: s.flag_percent == "30", "the first stage again")
            aborted()
    story.ends.append(len(tape.states))
    site.kubectl("delete", "enginerollout", "v2", "--timeout=60s")
    eventually(lambda: len(deaths(ledger)) == len(PLACES), "an end at every step", within=20)


async def _verified(database: str, uid: str) -> Verified:
    store = await open_store(database)
    try:
        return verify(await read_all(store, uid))
    finally:
        await store.close()


def test_it_was_killed_before_and_after_every_step(story: Story) -> None:
    assert sorted(story.deaths) == sorted(PLACES)


def test_no_rise_of_the_percent_is_without_a_recorded_reason(story: Story) -> None:
    shown = [percent for percent, _ in groupby(state.percent for state in story.states)]
    assert shown == [0.0, 30.0, 60.0, 0.0, 30.0, 0.0, 30.0, 0.0]
    assert unexplained(story.site, story.states) == []


def test_every_abort_ended_in_a_cleared_flag(story: Story) -> None:
    assert all(story.states[end - 1].clear for end in story.ends)


def test_no_rollback_was_undone_without_a_person(story: Story) -> None:
    assert undone(story.site) == []


def test_each_promotion_and_each_rollback_was_decided_once(story: Story) -> None:
    made = Counter(row["action"] for row in story.rows)
    assert {action: made[action] for action in ("Promote", "RollBack", "Rearm")} == {
        "Promote": 1,
        "RollBack": 3,
        "Rearm": 2,
    }


def test_the_log_of_decisions_has_no_gap(story: Story) -> None:
    assert story.verified is not None
    assert story.verified.difference == ""
