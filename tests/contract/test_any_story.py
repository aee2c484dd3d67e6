"""Whatever happens to a store, in whatever order: it does what a small model says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from orchestrator.store import open_store
from orchestrator.store.tables import metadata
from orchestrator.testing import MemoryStore
from tests.support.story import Story

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from orchestrator.store import Store
    from tests.support.postgres import LocalPostgres

# A story is some twenty calls; on a database each call is compared by a query for every execution there is.
_EXAMPLES = {"memory": 150, "sqlite": 40, "postgresql": 40}


def test_any_story_happens_as_the_model_says(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if kind == "postgresql":
        server: LocalPostgres = request.getfixturevalue("postgres")
        url = server.create_database()
    with asyncio.Runner() as runner:
        shared = None if kind == "memory" else runner.run(open_store(url))

        def story() -> Story:
            if shared is not None:
                empty(url)
            one = Story()
            one.store, one.runner = shared or MemoryStore(), runner
            return one

        profile = settings()  # `chaos` has more of everything
        bounded = profile.max_examples if profile.max_examples > 1000 else _EXAMPLES[kind]
        try:
            run_state_machine_as_test(
                story,
                settings=settings(
                    max_examples=bounded,
                    stateful_step_count=30,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            if shared is not None:
                close(runner, shared)


def close(runner: asyncio.Runner, store: Store) -> None:
    runner.run(store.close())


def empty(url: str) -> None:
    """Every story begins with an empty store: the same one, since to make a database takes longer than a story."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for name in ("workflow_events", "workflow_executions", "workflow_limits", "edge_logs"):
            connection.execute(metadata.tables[name].delete())
    engine.dispose()
