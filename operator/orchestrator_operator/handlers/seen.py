"""A resource's body as a value. Bodies come from anywhere: nothing in here may raise for odd content."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator import tracecontext
from orchestrator_operator.handlers.decide import RESTORED_LABELS, RESUME, TRACEPARENT, TRACESTATE, Seen
from orchestrator_operator.specs.requests import requests_in

if TYPE_CHECKING:
    from collections.abc import Mapping

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def see(body: Mapping[str, Any]) -> Seen:
    """An Execution resource as a value."""
    meta = mapping(body.get("metadata"))
    labels, annotations = mapping(meta.get("labels")), mapping(meta.get("annotations"))
    return Seen(
        uid=str(meta.get("uid", "")),
        version=str(meta.get("resourceVersion", "")),
        namespace=str(meta.get("namespace", "")),
        name=str(meta.get("name", "")),
        generation=int(meta.get("generation") or 0),
        created=instant(meta.get("creationTimestamp")) or _NEVER,
        deleting=bool(meta.get("deletionTimestamp")),
        restored=came_back(labels),
        resume=None if RESUME not in annotations else str(annotations[RESUME])[:256],
        spec=body.get("spec"),
        status=dict(mapping(body.get("status"))),
        requests=requests_in(annotations),
        trace=tracecontext.read(_text(annotations.get(TRACEPARENT)), _text(annotations.get(TRACESTATE))),
    )


def came_back(labels: Mapping[str, Any]) -> bool:
    """Whether a backup tool says that it brought the resource back."""
    ours, velero = RESTORED_LABELS
    return str(labels.get(ours, "")).lower() == "true" or velero in labels


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def instant(text: Any) -> datetime | None:
    """An RFC 3339 time, or None for anything else."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def uid(body: Mapping[str, Any]) -> str:
    return str(mapping(body.get("metadata")).get("uid", ""))


def metadata(seen: Seen) -> dict[str, Any]:
    """What an Event says of the object that it is about."""
    return {"uid": seen.uid, "name": seen.name, "namespace": seen.namespace, "generation": seen.generation}
