"""EngineRollouts outside of the operator's namespace, which an operator with the scope `cluster` sees, too.

The flag moves the traffic of all namespaces, so it belongs to those who may write in the operator's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator_operator.adapters.kubernetes import KubernetesError
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout_status import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.handlers.announce import Announcer
    from orchestrator_operator.watch import Handler

REASON = "WrongNamespace"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OwnRollouts:
    """Passes on what is told of the rollouts of `namespace`; to any other it says once that it steers nothing."""

    rollouts: Handler
    kubernetes: Kubernetes
    announcer: Announcer
    namespace: str

    async def handle(self, body: Mapping[str, Any]) -> None:
        """Never raises: see watch.Handler."""
        if self._own(body):
            await self.rollouts.handle(body)
        elif not body.get("status"):  # else somebody has answered: we, or an operator of that namespace
            await self._refuse(body["metadata"])

    async def gone(self, body: Mapping[str, Any]) -> None:
        if self._own(body):
            await self.rollouts.gone(body)

    def _own(self, body: Mapping[str, Any]) -> bool:
        return bool(body["metadata"]["namespace"] == self.namespace)

    async def _refuse(self, meta: Mapping[str, Any]) -> None:
        message = f"it steers nothing here: the flag is in the namespace {self.namespace}; apply it there"
        status = {"phase": Phase.PENDING.value, "reason": REASON, "message": message}
        try:
            await self.kubernetes.patch_status(ROLLOUTS, meta["namespace"], meta["name"], status, uid=meta["uid"])
            await self.announcer.tell(ROLLOUTS, meta, REASON, message, warning=True)
        except KubernetesError as error:  # the next event, or the next start, says it
            _log.warning("a rollout was not told", rollout=f"{meta['namespace']}/{meta['name']}", error=str(error))
