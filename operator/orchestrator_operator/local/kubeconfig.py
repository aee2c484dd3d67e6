"""kubeconfig files: everything a client needs in one file that can be copied."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import yaml

from orchestrator_operator.local.files import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator_operator.local.certificates import Pair


def write(path: Path, *, server: str, authority: Path, identity: Pair, user: str, cluster: str) -> Path:
    """Write a kubeconfig (0600) with one context: this user on this cluster."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": cluster, "cluster": {"server": server, "certificate-authority-data": _data(authority)}},
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _data(identity.certificate),
                    "client-key-data": _data(identity.key),
                },
            },
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user, "namespace": "default"}}],
        "current-context": cluster,
    }
    write_private(path, yaml.safe_dump(document, sort_keys=False).encode())
    return path


def file_name(user: str) -> str:
    """A user's name as a file name: `system:serviceaccount:a:b` is `system-serviceaccount-a-b`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", user)


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
