"""The flag in a cluster: three keys of one Secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.flag import KEYS, FlagConflict, FlagError, FlagMissing, FlagSnapshot, FlagUnavailable, FlagValues
from orchestrator_operator.adapters.kubernetes import (
    Conflict,
    Kubernetes,
    KubernetesError,
    NotFound,
    Unavailable,
    decode,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class SecretFlagStore:
    """`orchestrator.flag.FlagStore` on a Secret: `version` is its resourceVersion, so a write is exact or refused."""

    def __init__(self, kubernetes: Kubernetes, namespace: str, name: str) -> None:
        self._kubernetes, self.namespace, self.name = kubernetes, namespace, name

    async def read(self) -> FlagSnapshot:
        try:
            return snapshot(await self._kubernetes.secret(self.namespace, self.name))
        except NotFound:
            return FlagSnapshot(exists=False)
        except KubernetesError as error:
            raise FlagUnavailable(f"the Secret {self.namespace}/{self.name} cannot be read: {error}") from error

    async def write(self, values: Mapping[str, str | None], expected_version: str) -> FlagSnapshot:
        """Set or remove keys in one patch; nothing but the flag's own keys is ever touched."""
        if strange := values.keys() - set(KEYS):
            raise ValueError(f"not keys of the flag: {sorted(strange)}")
        where = f"the Secret {self.namespace}/{self.name}"
        try:
            written = await self._kubernetes.patch_secret(
                self.namespace, self.name, values, resource_version=expected_version or None
            )
        except NotFound as error:
            raise FlagMissing(f"{where} does not exist: create it (kubectl apply -k deploy/base does)") from error
        except Conflict as error:
            raise FlagConflict(f"{where} was changed since it was read: read it again, then decide again") from error
        except Unavailable as error:
            raise FlagUnavailable(f"{where} cannot be reached now; read it back: {error}") from error
        except KubernetesError as error:
            raise FlagError(f"{where} was not written: {error}") from error
        return snapshot(written)


def snapshot(secret: Mapping[str, Any]) -> FlagSnapshot:
    """The flag as a Secret holds it."""
    data = {key: decode(value) for key, value in (secret.get("data") or {}).items() if isinstance(value, str)}
    meta = secret.get("metadata") or {}
    return FlagSnapshot(FlagValues.of(data), str(meta.get("resourceVersion", "")), managers(meta.get("managedFields")))


def managers(fields: Any) -> dict[str, str]:
    """Who wrote each of the flag's keys last, as the API server keeps account."""
    found: dict[str, tuple[str, str]] = {}
    for entry in fields if isinstance(fields, list) else []:
        owned = (entry.get("fieldsV1") or {}).get("f:data") or {}
        at, who = str(entry.get("time", "")), str(entry.get("manager", ""))
        for key in KEYS:
            if f"f:{key}" in owned and at >= found.get(key, ("", ""))[0]:
                found[key] = (at, who)
    return {key: who for key, (_, who) in found.items()}
