"""On what a measurement was made: without that, no number means anything."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg

PACKAGES = ("orchestrator", "dbos", "temporalio", "psycopg", "sqlalchemy", "aiosqlite", "httpx", "aiohttp", "pydantic")

# What decides how long a commit takes, and how much the server may keep in memory.
POSTGRES_SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "commit_delay",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "max_connections",
)


def describe() -> dict[str, Any]:
    """The machine, the kernel, Python, and how busy it was when the run began."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "kernel": f"Linux {platform.release()}",
        "file_system": _file_system(),
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "commit": _commit(),
    }


def versions() -> dict[str, str]:
    """The versions of the packages that were measured or that measured."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def postgres(url: str) -> dict[str, Any]:
    """The server's version and the settings that matter here."""
    with psycopg.connect(url) as connection:
        version = connection.execute("SHOW server_version").fetchone()
        query = "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name"
        rows = connection.execute(query, [list(POSTGRES_SETTINGS)]).fetchall()
    return {"version": version[0] if version else "", "settings": dict(rows)}


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _file_system() -> str:
    """Of the folder that holds the databases."""
    temporary = Path(os.environ.get("TMPDIR", "/tmp")).resolve()  # noqa: S108 — where tempfile puts them, not a file of ours
    mounts = [part for part in psutil.disk_partitions(all=True) if temporary.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return answer.stdout.strip() or "unknown"
