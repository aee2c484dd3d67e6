"""What has been collected so far: files, what became of each part, and what was left out on purpose."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from orchestrator.support.scrubbing import Scrubber

FORMAT: Final = 1  # of the manifest: raised when a reader of bundles would have to know
LARGEST_FILE: Final = 4_000_000  # characters

NEVER: Final = (
    "inputs, outputs and signals' payloads: they are not read; how large an event's data are stands in their place",
    "workflows' definitions: only names, revisions and types of nodes",
    "routing keys, idempotency keys, keys of concurrency limits and of a map's items",
    "values of environment variables that are not Orchestrator's, and every password, token and key that is known",
    "Secrets of the cluster, but for the three keys of the flag",
)
MESSAGES: Final = "messages of failures, which may quote anything; --with-messages adds them, searched for secrets"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the bundle; `collect` adds its files."""

    name: str
    doing: str  # for people who wait: "reading the store"
    collect: Callable[[Bundle], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Part:
    """What became of a section: complete, incomplete (with the reason), or left out (with the reason)."""

    name: str
    state: str
    reason: str = ""


@dataclass(slots=True)
class Bundle:
    """Files by name. Nothing gets in but through `add` and `add_lines`, where it is scrubbed."""

    scrubber: Scrubber
    made_at: datetime
    version: str
    with_messages: bool = False
    files: dict[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, value: Any) -> None:
        """A file of JSON; of text, if the name ends so."""
        text = self.scrubber.text(str(value)) if name.endswith((".txt", ".log")) else self.scrubber.json(value)
        self._keep(name, text)

    def add_lines(self, name: str, values: Sequence[Any]) -> None:
        """A file with a JSON value a line."""
        self._keep(name, "".join(f"{self.scrubber.line(value)}\n" for value in values))

    def note(self, said: str) -> None:
        """Something that a reader of the bundle has to know, such as that a file was cut."""
        self.notes.append(self.scrubber.text(said))

    def part(self, name: str, state: str, reason: str = "") -> None:
        self.parts.append(Part(name, state, self.scrubber.text(reason)))

    def manifest(self) -> dict[str, Any]:
        """What is inside and what is not; the last file of the bundle."""
        return {
            "format": FORMAT,
            "made_at": self.made_at.isoformat(),
            "orchestrator": self.version,
            "parts": [asdict(part) for part in self.parts],
            "files": {name: len(text.encode()) for name, text in sorted(self.files.items())},
            "notes": self.notes,
            "left_out": [*NEVER, *([] if self.with_messages else [MESSAGES])],
        }

    def _keep(self, name: str, text: str) -> None:
        if len(text) > LARGEST_FILE:
            text = text[:LARGEST_FILE]
            self.note(f"{name} was cut at {LARGEST_FILE:,} characters")
        self.files[name] = text
