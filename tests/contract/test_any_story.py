"""Whatever happens to a store, in whatever order: it does what a small model says."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from orchestrator.store import open_store
from orchestrator.testing import MemoryStore
from tests.support.stores import empty
from tests.support.story import Story

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

        try:
            run_state_machine_as_test(story, settings=chosen(kind))
        finally:
            if shared is not None:
                runner.run(shared.close())


def chosen(kind: str) -> settings:
    """What fits into `make test`; the profile `chaos` (--hypothesis-profile=chaos) tells as many as it says."""
    if settings.get_current_profile_name() == "chaos":
        return settings()
    shrinks = [Phase.shrink] if kind == "memory" else []  # on a database that takes minutes
    return settings(
        max_examples=_EXAMPLES[kind],
        stateful_step_count=30,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, *shrinks],
        suppress_health_check=list(HealthCheck),
    )
