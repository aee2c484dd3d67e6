"""What happened to an execution, as far as a cluster tells it: lines with a moment, a source and a text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from orchestrator_operator.cli.verbs.standing import Standing
from orchestrator_operator.specs import GROUP
from orchestrator_operator.specs.conditions import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SELF: Final = "execution"
EVENT: Final = "event"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened."""

    at: datetime
    source: str  # execution, event, or node#attempt of a container
    text: str

    def __str__(self) -> str:
        return f"{shown(self.at)} {self.source:<12} {self.text}"

    def as_json(self) -> dict[str, str]:
        """For programs."""
        return {"at": shown(self.at), "source": self.source, "text": self.text}


def shown(at: datetime) -> str:
    """RFC 3339 in UTC, to a millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(text: Any) -> datetime | None:
    """A moment of the API's; container logs have nanoseconds. None for anything else."""
    head, dot, tail = str(text).rstrip("Z").partition(".")
    try:
        return datetime.fromisoformat(f"{head}{dot}{tail[:6]}").replace(tzinfo=UTC)
    except ValueError:
        return None


def of_resource(body: Mapping[str, Any]) -> list[Line]:
    """Its creation, its beginning, its end, or why it has none."""
    now, status, meta = Standing.of(body), body.get("status") or {}, body["metadata"]
    spec = body.get("spec") or {}
    found = [(meta.get("creationTimestamp"), f"created: an execution of {spec.get('workflow')}")]
    found.append((status.get("startedAt"), f"started on {now.engine}, revision {status.get('revision')}"))
    if now.refused:
        said = find(status, "Accepted") or {}
        found.append((said.get("lastTransitionTime"), f"refused ({now.reason}): {now.message}"))
    end = f"{now.phase} after {now.duration}, {now.progress} nodes"
    found.append((status.get("finishedAt"), f"{end}: {now.message}" if now.message else end))
    return [Line(at, SELF, text) for moment, text in found if (at := instant(moment)) is not None]


def where(now: Standing) -> str:
    """Where one that is not over stands; "" for one that is."""
    if now.over:
        return ""
    at = f" at {now.node}" if now.node else ""
    return f"now {now.phase or 'created, and not accepted yet'}{at}, {now.progress or '0'} nodes"


def of_events(events: Iterable[Mapping[str, Any]]) -> list[Line]:
    """Kubernetes Events about it."""
    found = []
    for event in events:
        at = instant(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp"))
        found.append(Line(at or _EPOCH, EVENT, f"{event.get('reason')}: {event.get('message')}"))
    return found


def container_of(pod: Mapping[str, Any]) -> str:
    """What a container's lines are marked with: its node and attempt."""
    labels = pod["metadata"].get("labels") or {}
    return f"{labels.get(f'{GROUP}/node', pod['metadata']['name'])}#{labels.get(f'{GROUP}/attempt', '1')}"


def of_log(text: str, source: str) -> list[Line]:
    """A container's log, whose lines begin with their moments (`timestamps=true`)."""
    return [line_of(line, source) for line in text.splitlines() if line]


def line_of(line: str, source: str) -> Line:
    """One line of such a log."""
    moment, _, said = line.partition(" ")
    at = instant(moment)
    return Line(_EPOCH, source, line) if at is None else Line(at, source, said)


def in_order(*parts: Iterable[Line]) -> list[Line]:
    """Everything, by its moment; what happened at the same one stays as it came."""
    return sorted((line for part in parts for line in part), key=lambda line: line.at)
