"""Where everything lies: the checkout's files, and our folder in the cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator_operator.local import LocalError, cache_root

if TYPE_CHECKING:
    from collections.abc import Iterable


def checkout() -> Path:
    """The project's checkout: the node image is described there, and the product's image is built from it."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "deploy" / "kind").is_dir():
        raise LocalError("kind clusters need a checkout of the project (its deploy/ folder): run this in one")
    return root


@dataclass(frozen=True, slots=True)
class Places:
    """Everything below one folder of the cache, which may be removed when nothing runs."""

    root: Path = field(default_factory=lambda: cache_root() / "kind")
    project: Path = field(default_factory=checkout)

    @property
    def docker(self) -> Path:
        """The data of a daemon of ours: its images are what makes the second start quick."""
        return self.root / "docker"

    @property
    def run(self) -> Path:
        """Sockets and pid files; short, for a socket's path has 108 bytes at the most."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def scratch(self) -> Path:
        """Root filesystems while they are made."""
        return self.root / "scratch"

    @property
    def modules(self) -> Path:
        """The go.mod files of what only a node needs."""
        return self.project / "deploy" / "kind" / "go"

    @property
    def node(self) -> Path:
        """The files that are laid into the node image."""
        return self.project / "deploy" / "kind" / "node"

    @property
    def config(self) -> Path:
        """What `kind create cluster` is told."""
        return self.project / "deploy" / "kind.yaml"

    def kubeconfig(self, cluster: str) -> Path:
        return self.root / "kubeconfigs" / f"{cluster}.kubeconfig"


def fingerprint(root: Path, files: Iterable[Path], *words: str) -> str:
    """Twelve hexadecimal digits that change when a file's name, its content or a word does."""
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode())
        digest.update(content)
    for word in words:
        digest.update(f"{word}\0".encode())
    return digest.hexdigest()[:12]
