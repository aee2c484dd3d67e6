"""A clock for one process alone, turned while it runs: libfaketime, which stands before the C library's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import debian

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture(scope="session")
def faketime() -> Path:
    """The library: this machine's, or Debian's. Skips where neither is to be had."""
    for root in (lambda: Path("/"), lambda: debian.unpacked(["libfaketime"]).root):
        if found := next(root().glob("usr/lib/*/faketime/libfaketime.so.1"), None):
            return found
    pytest.skip("Debian's package libfaketime has no libfaketime.so.1")


def turning(library: Path, offset: Path) -> Mapping[str, str]:
    """The environment of a process whose clock is off by what stands in the file `offset`, in seconds (`-240`), from a
    second after it was written. What measures durations (CLOCK_MONOTONIC) goes on as it is, as after a real correction.
    `time.sleep` fails under it; nothing in the operator calls that.
    """
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
