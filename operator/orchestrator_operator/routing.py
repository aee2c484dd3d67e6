"""What the router needs to know of the flag and of the rollout that owns it: see `orchestrator.intake`."""

from __future__ import annotations

from orchestrator.intake import RoutingFacts, RoutingSource

__all__ = ["RoutingFacts", "RoutingSource"]
