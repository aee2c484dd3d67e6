"""The API server's own count of the requests that it answered, out of its /metrics."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.live import ControlPlane

_SAMPLE = re.compile(r"^apiserver_request_total\{([^}]*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_READS = frozenset({"GET", "LIST"})


def answered(plane: ControlPlane) -> Counter[str]:
    """What was answered so far."""
    return counted(plane.background.run(plane.kubernetes.text("/metrics", query={})))


def counted(text: str) -> Counter[str]:
    """Requests that the server answered, by `POST executions` or `PATCH executions/status`; refused ones: `… 409`.

    Leases are left out: those are the parts' own heartbeats, by the clock and not by the load.
    """
    found: Counter[str] = Counter()
    for labels, value in _SAMPLE.findall(text):
        said = dict(_LABEL.findall(labels))
        if said["resource"] in ("", "leases") or said["verb"] not in _WRITES | _READS:
            continue
        place = "/".join(filter(None, (said["resource"], said["subresource"])))
        code = "" if said["code"].startswith("2") else f" {said['code']}"
        found[f"{said['verb']} {place}{code}"] += round(float(value))
    return found


def writes(requests: Mapping[str, int]) -> int:
    """How many of them ask for a change, refused ones too."""
    return sum(count for what, count in requests.items() if what.partition(" ")[0] in _WRITES)


def reads(requests: Mapping[str, int]) -> int:
    """How many of them only ask; those of watches are not among them."""
    return sum(count for what, count in requests.items() if what.partition(" ")[0] in _READS)
