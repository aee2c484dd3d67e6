"""What an operator needs before it can act: an API server that knows our kinds, and a store that answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from orchestrator.errors import OrchestratorError
from orchestrator.store import open_store
from orchestrator_operator.adapters.kubernetes import KubernetesError, NotFound
from orchestrator_operator.specs import RESOURCES

if TYPE_CHECKING:
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.settings import Settings

_log = structlog.get_logger(__name__)


async def wait_for_resources(kubernetes: Kubernetes, namespace: str) -> None:
    """Until the API server serves our kinds: applying CRDs and starting us may happen in any order."""
    for resource in RESOURCES:
        while True:
            try:
                await kubernetes.list(resource, namespace, limit=1)
            except NotFound:
                _log.warning("waiting for a CustomResourceDefinition: kubectl apply -f crds/", name=resource.crd)
            except KubernetesError as error:  # a server that starts forbids everything for a moment, too
                _log.warning("waiting for the API server", error=str(error))
            else:
                break
            await asyncio.sleep(1.0)


async def reaches_store(settings: Settings) -> bool:
    """Whether the store answers this process."""
    try:
        async with asyncio.timeout(settings.patience):
            store = await open_store(settings.database, schema=settings.schema_)
            try:
                await store.epoch()
            finally:
                await store.close()
    except (OrchestratorError, TimeoutError) as error:
        _log.warning("the store cannot be reached", error=str(error) or "no answer")
        return False
    return True
