"""Whatever happens to a store, in whatever order: it does what a small model says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from orchestrator.store import open_store
from orchestrator.testing import MemoryStore
from tests.support.stores import empty
from tests.support.story import Story

if TYPE_CHECKING:
    from orchestrator.store import Store

# A story is some twenty calls; on a database each call is compared by a query for every execution there is.
_EXAMPLES = {"memory": 150, "sqlite": 40, "postgresql": 40}


def test_any_story_happens_as_the_model_says(kind: str, url: str) -> None:
    with asyncio.Runner() as runner:
        shared = runner.run(open_store(url)) if url else None

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
                    phases=[phase for phase in Phase if phase is not Phase.shrink or not url],  # it takes minutes there
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            if shared is not None:
                close(runner, shared)


def close(runner: asyncio.Runner, store: Store) -> None:
    runner.run(store.close())
