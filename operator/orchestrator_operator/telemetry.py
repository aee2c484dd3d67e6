"""The metrics of the operator's own work, declared once. What it says of each rollout: rollout/metrics.py.

Plural resource names (`workflows`, `executions`, `enginerollouts`) are the label `resource`: never an object's name.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from orchestrator_operator.specs import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator_operator.specs import Resource

RECONCILE_SECONDS = Histogram(
    "orchestrator_reconcile_duration_seconds",
    "One look at one resource and what followed of it, the waiting for the API server and the store included.",
    ["resource"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RECONCILE_ERRORS = Counter(
    "orchestrator_reconcile_errors", "Looks at a resource that failed; each is repeated or quarantined.", ["resource"]
)
HEARD = Gauge(
    "orchestrator_watch_heard_timestamp_seconds", "When the watch last told of a resource of this kind.", ["resource"]
)
BEHIND = Gauge(
    "orchestrator_watch_behind_objects",
    "Objects of which two comparisons in a row have shown a change that the watch did not tell; 0 is healthy.",
)
RESYNCED = Gauge(
    "orchestrator_resync_timestamp_seconds", "When all resources were last compared with the store, and nothing failed."
)
REQUESTS = Counter(
    "orchestrator_kubernetes_requests",
    "Requests to the API server, repeated ones too, without those of the watch; the code is 0 where none came back.",
    ["verb", "code"],
)
REQUEST_SECONDS = Histogram(
    "orchestrator_kubernetes_request_duration_seconds",
    "One request to the API server, until all of its answer was there.",
    ["verb"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

for _resource in RESOURCES:  # a rate needs the zero before the first error
    RECONCILE_SECONDS.labels(_resource.plural)
    RECONCILE_ERRORS.labels(_resource.plural)


@contextmanager
def reconciling(resource: Resource) -> Iterator[None]:
    """Time what the block does for one resource."""
    began = time.perf_counter()
    try:
        yield
    finally:
        RECONCILE_SECONDS.labels(resource.plural).observe(time.perf_counter() - began)


def failed(resource: Resource) -> None:
    """Count a look that did not succeed."""
    RECONCILE_ERRORS.labels(resource.plural).inc()


def requested(verb: str, code: int, seconds: float) -> None:
    """Count a request to the API server; code 0: no answer."""
    REQUESTS.labels(verb, str(code)).inc()
    REQUEST_SECONDS.labels(verb).observe(seconds)
