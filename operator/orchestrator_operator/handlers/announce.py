"""Kubernetes Events: what `kubectl describe` shows. Told once, however often we look."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator_operator.adapters.kubernetes import Kubernetes, KubernetesError
from orchestrator_operator.specs import GROUP, VERSION, Resource
from orchestrator_operator.specs.conditions import clip, timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.clock import Clock

COMPONENT = "orchestrator-operator"

_log = structlog.get_logger(__name__)


class Announcer:
    """Posts Events about resources. A failure is logged and nothing else: the condition says the same."""

    def __init__(self, kubernetes: Kubernetes, clock: Clock) -> None:
        self._kubernetes, self._clock = kubernetes, clock

    async def tell(
        self,
        resource: Resource,
        metadata: Mapping[str, Any],
        reason: str,
        message: str,
        *,
        warning: bool = False,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Post that something happened to a resource; a warning is what somebody should look into."""
        body = event(resource, metadata, "Warning" if warning else "Normal", reason, message, self._clock.now())
        if annotations:
            body["metadata"]["annotations"] = dict(annotations)
        try:
            await self._kubernetes.create_event(body["metadata"]["namespace"], body)
        except KubernetesError as error:
            _log.warning("event not posted", reason=body["reason"], error=str(error))


def event(
    resource: Resource, metadata: Mapping[str, Any], kind: str, reason: str, message: str, now: datetime
) -> dict[str, Any]:
    """A core/v1 Event. Its name is a hash of what it says of which generation: telling it again is a no-op."""
    name, generation = str(metadata.get("name", "")), metadata.get("generation")
    said = f"{metadata.get('uid')}/{generation}/{kind}/{reason}/{message}"
    digest = hashlib.sha256(said.encode(errors="replace")).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name[:200].rstrip('-.')}.{digest}", "namespace": metadata.get("namespace", "")},
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": resource.kind,
            "name": name,
            "namespace": metadata.get("namespace", ""),
            "uid": metadata.get("uid", ""),
        },
        "type": kind,
        "reason": reason,
        "message": clip(message),
        "firstTimestamp": timestamp(now),
        "lastTimestamp": timestamp(now),
        "count": 1,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
    }
