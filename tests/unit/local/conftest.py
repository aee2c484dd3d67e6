"""Tools that are cheap to have: shell scripts that say a version."""

from __future__ import annotations

import os
import select
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.local.catalogue import Release, Tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path


class Notes:
    """A reporter that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def task(self, label: str, expected: timedelta | None = None) -> AbstractContextManager[Callable[[str], None]]:
        self.lines.append(label)
        return nullcontext(lambda _detail: None)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """A tool `thing` 1.36.3, whose module needs Go 1.26."""
    module = tmp_path / "modules" / "things"
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module things\n\ngo 1.26.0\n")
    return Tool(
        name="thing",
        version="1.36.3",
        assets_variable="THING_ASSETS",
        version_arguments=("--version",),
        module=module,
        package="example.org/thing",
        build_arguments=("-tags", "small"),
        build_time=timedelta(minutes=1),
        release=Release("http://127.0.0.1:9/thing", "http://127.0.0.1:9/thing.sha256"),
    )


@pytest.fixture
def script() -> Callable[..., Path]:
    """Write an executable shell script."""

    def write(path: Path, body: str, **_: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def ends() -> Callable[[int], bool]:
    """Wait for a process to end, ten seconds at most; says whether it did."""

    def wait(pid: int) -> bool:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(10_000))
        finally:
            os.close(descriptor)

    return wait
