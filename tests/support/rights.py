"""What an account may, by the API server's own answer, whichever roles and bindings it comes from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.live import ControlPlane

_EVERYBODY = "selfsubject"  # whoever is authenticated may look at oneself
_LINE = re.compile(r"(\S*)\s+\[(.*?)\]\s+\[(.*?)\]\s+\[(.*?)\]\s*")

Right = tuple[str, str, str]  # the resource, the only names that count or "", the verbs in their order


def rights(plane: ControlPlane, namespace: str, account: Path) -> set[Right]:
    """`kubectl auth can-i --list` in a namespace, without what everybody may. `account` is a kubeconfig."""
    said = plane.ask("auth", "can-i", "--list", "--no-headers", f"--namespace={namespace}", user=account)
    assert said.code == 0, said.error
    assert _EVERYBODY in said.out  # so an empty answer means something
    found: dict[tuple[str, str], set[str]] = {}
    for line in said.out.splitlines():
        read = _LINE.fullmatch(line)
        assert read is not None, line
        resource, urls, names, verbs = read.groups()
        if not urls and not resource.startswith(_EVERYBODY):
            found.setdefault((resource, names), set()).update(verbs.split())
    return {(resource, names, " ".join(sorted(verbs))) for (resource, names), verbs in found.items()}
