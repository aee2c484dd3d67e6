"""The durable store: one contract (`port.Store`), two databases (PostgreSQL and SQLite)."""

from orchestrator.store.open import open_store
from orchestrator.store.port import (
    Append,
    Claim,
    CohortCount,
    Control,
    Delivered,
    Delivery,
    ExecutionRecord,
    Filter,
    Gauges,
    Outcome,
    Release,
    Store,
    Submission,
    Submitted,
    Totals,
    V1Update,
)

__all__ = [
    "Append",
    "Claim",
    "CohortCount",
    "Control",
    "Delivered",
    "Delivery",
    "ExecutionRecord",
    "Filter",
    "Gauges",
    "Outcome",
    "Release",
    "Store",
    "Submission",
    "Submitted",
    "Totals",
    "V1Update",
    "open_store",
]
