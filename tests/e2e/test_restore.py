"""A PostgreSQL that is restored to a moment, resources that come back with new uids: nothing runs again by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.backup import ArchivedPostgres
from tests.support.rollout_documents import rollout
from tests.support.site import execution, orders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

BEFORE = ("before-0", "before-1")
LATER = ("later-0", "later-1")


def db_restored(site: Site) -> dict[str, Any]:
    """What docs/backup.md has a person type."""
    command = [sys.executable, "-m", "orchestrator.cli.main", "db", "restored", "--yes", "--output", "json"]
    environment = os.environ | {"ORCHESTRATOR_DATABASE": site.database}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def new_work_is_done(site: Site, name: str) -> None:
    """So whatever was to run by now would have."""
    site.apply(execution(name, "orders", {"order": name}, engine="v2"))
    site.until_phase(name, "Success")


@pytest.fixture(scope="module")
def server() -> Iterator[ArchivedPostgres]:
    with tempfile.TemporaryDirectory(prefix="backup-") as folder, ArchivedPostgres(Path(folder)) as server:
        yield server


@pytest.fixture(scope="module")
def restored(control_plane: ControlPlane, server: ArchivedPostgres) -> Iterator[Site]:
    """Two were over and one was in flight at the moment of the backup; that one and two more ended after it."""
    database = server.create_database()
    with control_plane.site("restored", database=database) as site:
        site.start()
        site.apply(orders(site.shop), orders(site.shop, "paused", pause="4s"))
        server.base()
        site.apply(*(execution(name, "orders", {"order": name}, engine="v2") for name in BEFORE))
        site.until_over(BEFORE)
        site.apply(execution("in-flight", "paused", {"order": "in-flight"}, engine="v2"))
        site.until_phase("in-flight", "Waiting")
        server.point("backup")
        site.apply(*(execution(name, "orders", {"order": name}, engine="v2") for name in LATER))
        site.until_over([*LATER, "in-flight"])
        site.kill("worker", "operator")
        site.notes["ledger"] = site.ledger()
        server.restore("backup")
        site.notes["said"] = db_restored(site)
        site.start("operator", "worker")
        yield site


def test_it_says_what_it_holds(restored: Site) -> None:
    assert restored.notes["said"]["suspended"] == 1
    assert restored.notes["said"]["lost"] == 0


def test_what_was_in_flight_at_that_moment_waits_for_a_person(restored: Site) -> None:
    restored.until_phase("in-flight", "Suspended")


def test_what_the_backup_does_not_know_is_unknown(restored: Site) -> None:
    for name in LATER:
        assert restored.until_phase(name, "Unknown")["reason"] == "StoreMissing"


def test_nothing_ran_again(restored: Site) -> None:
    restored.until_phase("in-flight", "Suspended")
    before = restored.notes["ledger"]
    new_work_is_done(restored, "new")
    now = restored.ledger()
    assert (now.requests, now.effects) == (before.requests + 3, before.effects + 3)


def test_a_person_lets_it_go_on_and_no_effect_happens_twice(restored: Site) -> None:
    restored.until_phase("in-flight", "Suspended")
    before = restored.ledger()
    restored.kubectl("annotate", "execution", "in-flight", "orchestrator.dev/resume=1")
    restored.until_phase("in-flight", "Success")
    now = restored.ledger()
    # The step behind the pause had run after the backup: it ran again, by the same key, which the shop knew.
    assert (now.requests, now.effects) == (before.requests + 1, before.effects)


def test_resources_with_new_uids_run_nothing_again(restored: Site) -> None:
    """All are exported, deleted, and applied again, as they come out of a backup of the cluster."""
    restored.until_over(["in-flight"])
    restored.apply(rollout("v2", (50, "1h"), (100, "1h")))
    restored.until_status("EngineRollout", "v2", lambda status: status.get("phase") == "Progressing", "a rollout")
    kept = json.loads(restored.kubectl("get", "owf,oex", "-o", "json"))
    rollouts = json.loads(restored.kubectl("get", "ero", "-o", "json"))
    names = {item["metadata"]["name"] for item in kept["items"] if item["kind"] == "Execution"}
    before = {body["metadata"]["name"]: body["metadata"]["uid"] for body in restored.all("Execution")}
    restored.kubectl("delete", "enginerollouts", "--all", "--timeout=60s")
    restored.kill("worker", "operator")
    restored.kubectl("delete", "executions.orchestrator.dev,workflows.orchestrator.dev", "--all", "--timeout=60s")
    books = restored.ledger()
    restored.apply(*kept["items"])
    labelled = ("label", "--local", "-f", "-", "orchestrator.dev/restored=true", "-o", "json")
    restored.apply(json.loads(restored.kubectl(*labelled, stdin=rollouts)))
    db_restored(restored)
    restored.start("operator", "worker")
    for name in names:
        assert restored.until_phase(name, "Suspended")["reason"] == "Restored"
        assert restored.get("Execution", name)["metadata"]["uid"] != before[name]
    new_work_is_done(restored, "newest")
    now = restored.ledger()
    assert (now.requests, now.effects) == (books.requests + 3, books.effects + 3)
    restored.until_status("EngineRollout", "v2", lambda status: status.get("reason") == "Restored", "it waits")
    assert restored.flag() == {}
