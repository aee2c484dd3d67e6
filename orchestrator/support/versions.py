"""What runs here."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

from orchestrator import events
from orchestrator.support.bundle import Section

if TYPE_CHECKING:
    from orchestrator.support.bundle import Bundle

_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def versions_section() -> Section:
    """Versions of this program, of Python, of the system, and of every library that we stand on."""

    async def collect(bundle: Bundle) -> None:
        bundle.add("versions.json", versions())

    return Section("versions", "reading versions", collect)


def versions() -> dict[str, Any]:
    return {
        "orchestrator": metadata.version("orchestrator"),
        "event_schema": events.SCHEMA_VERSION,
        "python": sys.version,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: _installed(name) for name in _needed()},
        "commands": {
            entry.name: entry.dist.name if entry.dist else ""
            for entry in metadata.entry_points(group="orchestrator.commands")
        },
    }


def _needed() -> list[str]:
    wanted = (_NAME.match(requirement) for requirement in metadata.requires("orchestrator") or ())
    return sorted({match[0].lower() for match in wanted if match})


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
