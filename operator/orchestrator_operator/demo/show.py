"""Keep the screen up to date: rich's live table on a terminal, plain lines on a pipe."""

from __future__ import annotations

import asyncio
import contextlib
from textwrap import indent
from typing import TYPE_CHECKING, Self

from rich.live import Live

from orchestrator_operator.demo import screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

_REFRESH = 0.5
_LINE_EVERY = 5.0


class Show:
    """The running commentary. `note` tells a thing once; `frames` makes the table follow what is going on."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.act = ""
        self._task: asyncio.Task[None] | None = None
        self._told: set[tuple[str, str, str]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.rest()

    def begin(self, act: str, explanation: str = "") -> None:
        """A new act of the story: a heading, and in a sentence or two what is to be seen in it."""
        self.act = act
        self.console.print()
        self.console.print(f"[bold]{act}[/bold]")
        if explanation:
            self.console.print(explanation, highlight=False)

    def note(self, text: str) -> None:
        self.console.print(indent(text, "  "), highlight=False, markup=False, soft_wrap=True)

    def listing(self, text: str) -> None:
        """A command and what it printed."""
        self.console.print(f"\n{text}", highlight=False, markup=False, soft_wrap=True)

    def follow(self, frame: Callable[[], screen.Frame]) -> None:
        """Show what `frame` returns from now on."""
        self._task = asyncio.create_task(self._loop(frame), name="screen")

    async def rest(self) -> None:
        """Stop following; the last table stays on the screen."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _loop(self, frame: Callable[[], screen.Frame]) -> None:
        if self.console.is_terminal:
            with Live(screen.table(frame()), console=self.console, auto_refresh=False) as live:
                while True:
                    now = frame()
                    self._decisions(now)
                    live.update(screen.table(now), refresh=True)
                    await asyncio.sleep(_REFRESH)
        due = 0.0
        while True:
            now = frame()
            self._decisions(now)
            if now.elapsed >= due:
                self.console.print(screen.line(now), highlight=False, markup=False, soft_wrap=True)
                due = now.elapsed + _LINE_EVERY
            await asyncio.sleep(_REFRESH)

    def _decisions(self, frame: screen.Frame) -> None:
        """Tell each decision of the controller once, when it appears in the status."""
        for entry in frame.sighting.decisions:
            key = (frame.sighting.rollout, str(entry.get("at")), screen.decision(entry))
            if key not in self._told:
                self._told.add(key)
                self.note(f"{screen.clock(frame.elapsed)} {frame.sighting.rollout} decided {screen.decision(entry)}")
