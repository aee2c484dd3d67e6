"""What a control plane has to remember about itself between two commands."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from orchestrator_operator.local.commands import Ports
from orchestrator_operator.local.files import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """How it was started last."""

    ports: Ports
    binaries: Mapping[str, str]  # name -> path
    versions: Mapping[str, str]  # name -> version
    detached: bool
    fsync: bool

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        write_private(path, json.dumps(asdict(self), indent=2).encode())


def read(path: Path) -> Record | None:
    """The record in a file, or None: where there is none, and where another version wrote it, we start anew."""
    try:
        found = json.loads(path.read_bytes())
        return Record(**found | {"ports": Ports(**found["ports"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
