"""Tell a person what takes so long: a live line on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import timedelta

_PLAIN_EVERY = 10.0  # seconds between plain lines: a log shows that it lives, and stays readable


class Reporter(Protocol):
    """Where progress goes."""

    def note(self, text: str) -> None:
        """Say one thing that is worth keeping."""

    def task(self, label: str, expected: timedelta | None = None) -> AbstractContextManager[Callable[[str], None]]:
        """Open a piece of work; the function it gives is to be called often, with what is going on."""


class Silent:
    """Says nothing: for callers that show their own progress."""

    def note(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def task(self, label: str, expected: timedelta | None = None) -> Iterator[Callable[[str], None]]:  # noqa: ARG002 - the protocol's
        """Show nothing."""
        yield lambda _detail: None


class ConsoleReporter:
    """Progress on a console (standard error by default, so that standard output stays clean for `--output json`)."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(stderr=True)
        self._clock = clock

    def note(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def task(self, label: str, expected: timedelta | None = None) -> Iterator[Callable[[str], None]]:
        """A spinner with elapsed and expected time on a terminal; else a line at start and end, and each 10 s."""
        began = self._clock()

        def line(detail: str = "") -> str:
            return describe(label, self._clock() - began, expected, detail)

        if self._console.is_terminal:
            with self._console.status(escape(line())) as status:
                yield lambda detail: status.update(escape(line(detail)))
        else:
            self.note(line())
            last = began

            def tick(detail: str) -> None:
                nonlocal last
                if self._clock() - last >= _PLAIN_EVERY:
                    last = self._clock()
                    self.note(line(detail))

            yield tick
        self.note(f"{label}: done in {_seconds(self._clock() - began)}")


def describe(label: str, elapsed: float, expected: timedelta | None, detail: str) -> str:
    """`building etcd: 42 s (about 1 min expected), 310 packages compiled`."""
    text = f"{label}: {_seconds(elapsed)}"
    if expected is not None:
        text += f" (about {_seconds(expected.total_seconds())} expected on two cores)"
    return f"{text}, {detail}" if detail else text


def _seconds(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
