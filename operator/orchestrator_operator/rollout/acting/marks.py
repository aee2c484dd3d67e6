"""What the controller writes into a rollout's metadata: its finalizer, and that a person's word was heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator_operator.adapters.kubernetes import Conflict
from orchestrator_operator.specs import GROUP, ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.rollout.known import Known

FINALIZER = f"{GROUP}/flag"  # keeps a rollout until its flag is as its deletion policy says


def held(metadata: Mapping[str, Any]) -> bool:
    """Whether the finalizer is there."""
    return FINALIZER in _finalizers(metadata)


async def hold(kubernetes: Kubernetes, known: Known) -> None:
    """Put the finalizer on. Raises Conflict when somebody was faster."""
    meta = await _metadata(kubernetes, known)
    if meta.get("uid") == known.uid and not held(meta):
        await _write(kubernetes, known, meta, [*_finalizers(meta), FINALIZER])


async def let_go(kubernetes: Kubernetes, known: Known) -> None:
    """Take the finalizer off. Raises Conflict when somebody was faster."""
    meta = await _metadata(kubernetes, known)
    if meta.get("uid") == known.uid and held(meta):
        await _write(kubernetes, known, meta, [item for item in _finalizers(meta) if item != FINALIZER])


async def take_off(kubernetes: Kubernetes, known: Known, key: str, heard: str) -> None:
    """Only what was heard: a person may have said something else meanwhile. Raises Conflict then."""
    namespace, name = known.name.split("/", 1)
    try:
        await kubernetes.take_off(ROLLOUTS, namespace, name, key, heard)
    except Conflict:
        meta = await _metadata(kubernetes, known)
        if key in (meta.get("annotations") or {}):  # else it was taken off before, which the watch has not told yet
            raise


async def _metadata(kubernetes: Kubernetes, known: Known) -> Mapping[str, Any]:
    namespace, name = known.name.split("/", 1)
    found: Mapping[str, Any] = (await kubernetes.get(ROLLOUTS, namespace, name))["metadata"]
    return found


async def _write(kubernetes: Kubernetes, known: Known, meta: Mapping[str, Any], wanted: list[str]) -> None:
    """A merge patch replaces the whole list, so it starts from the list that was read, at the version that was read."""
    namespace, name = known.name.split("/", 1)
    precondition = {"uid": known.uid, "resourceVersion": meta["resourceVersion"]}
    await kubernetes.patch(ROLLOUTS, namespace, name, {"metadata": {"finalizers": wanted, **precondition}})


def _finalizers(metadata: Mapping[str, Any]) -> list[str]:
    return [str(item) for item in metadata.get("finalizers") or []]
