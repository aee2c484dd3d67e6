"""The durable store: one contract (`port.Store`), two databases (PostgreSQL and SQLite)."""

from orchestrator.store.evidence import Appended, Baseline, CohortCount, DecisionRow, Ended, KeptBin, Taken, Totals
from orchestrator.store.messages import (
    Append,
    Claim,
    Control,
    Delivered,
    Delivery,
    Outcome,
    Release,
    Submission,
    Submitted,
    V1Update,
)
from orchestrator.store.open import open_store, open_store_patiently
from orchestrator.store.port import Store
from orchestrator.store.records import Backlog, ExecutionRecord, Filter, Gauges

__all__ = [
    "Append",
    "Appended",
    "Backlog",
    "Baseline",
    "Claim",
    "CohortCount",
    "Control",
    "DecisionRow",
    "Delivered",
    "Delivery",
    "Ended",
    "ExecutionRecord",
    "Filter",
    "Gauges",
    "KeptBin",
    "Outcome",
    "Release",
    "Store",
    "Submission",
    "Submitted",
    "Taken",
    "Totals",
    "V1Update",
    "open_store",
    "open_store_patiently",
]
