"""Which namespace a person works in, by kubectl's own rules."""

from __future__ import annotations

import os
from pathlib import Path

from kubernetes_asyncio.config import ConfigException, list_kube_config_contexts

from orchestrator_operator.adapters.kubernetes import in_cluster

_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT = "default"


def current_namespace(context: str | None = None) -> str:
    """That of a context of the kubeconfig (the current one if none is named), else of the pod, else `default`.

    What cannot be read counts as silent: whoever logs in by it next says what is wrong.
    """
    source = os.environ.get("KUBECONFIG")
    if context is None and source is None and in_cluster():
        return _read(_POD)
    try:
        contexts, current = list_kube_config_contexts(source)
    except (ConfigException, OSError):
        return _DEFAULT
    named = {one.get("name"): one for one in contexts}
    found = current if context is None else named.get(context)
    inner = (found or {}).get("context") or {}
    return str(inner.get("namespace") or _DEFAULT)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or _DEFAULT
    except OSError:
        return _DEFAULT
