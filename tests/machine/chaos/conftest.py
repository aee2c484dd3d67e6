"""Time is shared by the tests that were chosen, the seed is theirs all, and a summary says what was done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.chaos import Chaos, first_seed, minutes

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = first_seed()
_BEGAN = time.monotonic()
_TOLD = "chaos"  # the property of a report that says what was done
_left: list[pytest.Item] = []  # tests that have not begun


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is chaos. (A conftest's hook sees all items of the run.)"""
    for item in items:
        if "tests/machine/chaos" in item.path.as_posix():
            item.add_marker(pytest.mark.chaos)


def pytest_collection_finish(session: pytest.Session) -> None:
    _left[:] = [item for item in session.items if item.get_closest_marker("chaos") is not None]


def _share() -> float:
    """The seconds of the next test: what is left, divided by how many are left."""
    return max(minutes() * 60 - (time.monotonic() - _BEGAN), 0.0) / max(1, len(_left))


@pytest.fixture
def chaos(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Chaos]:
    """What this test may spend."""
    began = time.monotonic()

    def say(text: str) -> None:
        if mine.long:
            with capsys.disabled():
                print(f"\n[chaos] {text}", end="", flush=True)  # noqa: T201 — a person is waiting for ten minutes
        else:
            print(text)  # noqa: T201 — pytest shows it when the test fails: the seed is there

    mine = Chaos(request.node.name, SEED, minutes() > 0, _share(), say)
    _left[:] = [item for item in _left if item is not request.node]
    yield mine
    mine.facts["seconds"] = round(time.monotonic() - began)
    facts = ", ".join(f"{count} {what}" for what, count in mine.facts.items())
    request.node.user_properties.append((_TOLD, f"{mine.test}, CHAOS_SEED={SEED}: {facts}"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Reports come from every test process; what a test did stands in the one of its end."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    ended = [report for report in reports if getattr(report, "when", "") == "teardown"]
    told = [text for report in ended for name, text in report.user_properties if name == _TOLD]
    if told:
        terminalreporter.section("chaos")
    for text in told:
        terminalreporter.write_line(text)
