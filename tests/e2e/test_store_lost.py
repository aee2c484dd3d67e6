"""A store that is lost or restored runs nothing again by itself (promise 11)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.polling import eventually
from tests.support.site import execution, orders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

RESUME = "orchestrator.dev/resume"
FINISHED = ("over-0", "over-1", "over-2")


def wipe(site: Site) -> None:
    """Operator and worker go, and the database file with them."""
    site.kill("worker", "operator")
    for path in Path(site.database.removeprefix("sqlite:///")).parent.glob("store.db*"):
        path.unlink()


@pytest.fixture(scope="module")
def wiped(control_plane: ControlPlane) -> Iterator[Site]:
    """A site whose store was wiped while it had finished, running and unseen executions."""
    with control_plane.site("wiped") as site:
        site.start()
        site.apply(orders(site.shop), orders(site.shop, "paused", pause="3s"))
        site.apply(*(execution(name, "orders", {"order": name}, engine="v2") for name in FINISHED))
        site.apply(execution("running", "paused", {"order": "running"}, engine="v2"))
        site.until_over(FINISHED)
        site.until_phase("running", "Waiting")
        wipe(site)
        site.apply(
            execution("unseen", "orders", {"order": "unseen"}, engine="v2"),
            execution("unwanted", "orders", {"order": "unwanted"}, engine="v2"),
        )
        born = datetime.fromisoformat(site.get("Execution", "unwanted")["metadata"]["creationTimestamp"])
        eventually(
            lambda: (datetime.now(UTC) - born).total_seconds() > 1, "the next second: Kubernetes counts whole ones"
        )
        site.notes["before"] = site.ledger()
        site.start("operator", "worker")
        yield site


def test_what_the_store_does_not_know_any_more_is_unknown(wiped: Site) -> None:
    for name in (*FINISHED, "running"):
        status = wiped.until_phase(name, "Unknown")
        assert status["reason"] == "StoreMissing"
        assert "nothing runs again" in status["message"]


def test_how_it_ended_stays_told(wiped: Site) -> None:
    for name in FINISHED:
        wiped.until_phase(name, "Unknown")
        assert wiped.condition("Execution", name, "Succeeded")["status"] == "True"
    wiped.until_phase("running", "Unknown")
    assert wiped.condition("Execution", "running", "Succeeded")["status"] == "Unknown"


def test_a_kubernetes_event_tells_of_it(wiped: Site) -> None:
    wiped.until_phase("running", "Unknown")
    eventually(
        lambda: [e for e in wiped.events("Execution", "running") if e["reason"] == "StoreMissing"],
        "the Event",
        every=0.5,
    )


def test_one_that_is_older_than_the_store_waits_for_a_person(wiped: Site) -> None:
    status = wiped.until_phase("unwanted", "Suspended")
    assert status["reason"] == "Restored"
    assert RESUME in status["message"]


def test_nothing_runs_again(wiped: Site) -> None:
    before = wiped.notes["before"]
    for name in (*FINISHED, "running"):
        wiped.until_phase(name, "Unknown")
    wiped.until_phase("unwanted", "Suspended")
    # New work is done: so whatever was to run by now would have.
    wiped.apply(execution("new", "paused", {"order": "new"}, engine="v2"))
    wiped.until_phase("new", "Success")
    now = wiped.ledger()
    assert (now.requests, now.effects) == (before.requests + 3, before.effects + 3)
    assert wiped.query("SELECT name FROM workflow_executions WHERE started_at IS NOT NULL") == [{"name": "new"}]


def test_a_person_resumes_one_by_the_annotation(wiped: Site) -> None:
    wiped.until_phase("unseen", "Suspended")
    wiped.kubectl("annotate", "execution", "unseen", f"{RESUME}={time.time():.0f}")
    wiped.until_phase("unseen", "Success")
    assert wiped.status("Execution", "unwanted")["phase"] == "Suspended"


def test_one_that_a_backup_brought_back_waits_for_a_person(shared_site: Site) -> None:
    shared_site.apply(orders(shared_site.shop))
    body = execution("from-backup", "orders", {"order": "from-backup"}, engine="v2")
    body["metadata"]["labels"] = {"velero.io/restore-name": "last-night"}
    shared_site.apply(body)
    assert shared_site.until_phase("from-backup", "Suspended")["reason"] == "Restored"
    shared_site.kubectl("annotate", "execution", "from-backup", f"{RESUME}=1")
    shared_site.until_phase("from-backup", "Success")
