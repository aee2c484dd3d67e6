"""EngineRollouts for tests: the demo's plan with shorter stages."""

from __future__ import annotations

from typing import Any

from orchestrator_operator.specs import ROLLOUTS

from tests.support.site import document


def rollout(name: str, *weeks: tuple[int, str], **spec: Any) -> dict[str, Any]:
    """A rollout of (percent, duration) stages that needs little traffic and promotes without a Pass."""
    analysis = {
        "ages": ["1s", "10s"],  # far apart from how long an order takes: a busy machine must not convict anybody
        "restart": "30s",
        "minimumExecutions": 3,
        "underpowered": "Promote",
        "extend": "0s",
    }
    written = {
        "flag": {"secret": "orchestrator-flags"},
        "stages": [{"name": f"week-{n}", "percent": p, "duration": d} for n, (p, d) in enumerate(weeks, start=1)],
        "analysis": analysis,
        "rollback": {"inFlight": "Drain", "cooldown": "1m"},
        "deadman": "1m",
    }
    return document(ROLLOUTS, name, written | spec)
