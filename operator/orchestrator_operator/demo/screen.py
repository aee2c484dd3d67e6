"""What a person sees while the demo runs: a live table on a terminal, a line every few seconds on a pipe."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from orchestrator_operator.demo.facts import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator_operator.demo.checks import Claim
    from orchestrator_operator.demo.facts import Sighting
    from orchestrator_operator.demo.traffic import Sent

_CAPTION = 220  # characters of the last decision under the live table; it was told in full when it was made
_COLOURS = {
    "Progressing": "cyan",
    "Completed": "green",
    "RollingBack": "red",
    "RolledBack": "red",
    "Held": "yellow",
    "Paused": "yellow",
    "AwaitingApproval": "yellow",
}


@dataclass(frozen=True, slots=True)
class Meter:
    """One engine as Prometheus sees it; NaN where it has no answer."""

    started: float = math.nan  # a second, over the last ten seconds
    failed: float = math.nan  # of those that ended in that time, in per cent
    running: float = math.nan


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything that one refresh shows."""

    elapsed: float
    act: str
    sighting: Sighting
    sent: Sent
    meters: Mapping[str, Meter] = field(default_factory=dict)


def table(frame: Frame) -> Table:
    """The live table."""
    status, sight = frame.sighting.status, frame.sighting
    whole = Table(title=f"{clock(frame.elapsed)}  {frame.act}", title_justify="left", expand=True)
    for heading in ("Rollout", "Phase", "Stage", "Percent", "Verdict", "Evidence"):
        whole.add_column(heading)
    whole.add_row(
        sight.rollout or "none",
        Text(sight.phase or "-", style=_COLOURS.get(sight.phase, "")),
        str(status.get("stage") or "-"),
        _percent(status),
        str(status.get("verdict") or "-"),
        str(status.get("evidence") or "-"),
    )
    whole.add_section()
    for engine in ("v1", "v2"):
        meter = frame.meters.get(engine, Meter())
        whole.add_row(
            f"engine {engine.upper()}",
            f"{_number(meter.started)}/s",
            f"{_number(meter.failed)} % failed",
            f"{_number(meter.running, 0)} running",
        )
    whole.add_section()
    whole.add_row("traffic", f"{frame.sent.rate_now:.1f}/s", f"{frame.sent.created} created", "", "", "")
    whole.caption = (
        f"flag: {flag(sight.flag)}\nlast decision: {shorten(last_decision(status), _CAPTION, placeholder=' …')}"
    )
    whole.caption_justify = "left"
    return whole


def line(frame: Frame) -> str:
    """The same in one line, for a pipe."""
    status, sight = frame.sighting.status, frame.sighting
    parts = [clock(frame.elapsed)]
    if sight.rollout:
        parts += [
            f"{sight.rollout}: {sight.phase or '-'} {status.get('stage') or '-'} {_percent(status)}",
            f"{status.get('verdict') or '-'} (evidence {status.get('evidence') or '-'})",
        ]
    for engine in ("v1", "v2"):
        meter = frame.meters.get(engine, Meter())
        parts.append(
            f"{engine.upper()} {_number(meter.started)}/s, {_number(meter.failed)} % failed, "
            f"{_number(meter.running, 0)} running"
        )
    parts.append(f"flag {flag(sight.flag)}")
    return " | ".join(parts)


def summary(claims: Sequence[Claim]) -> Table:
    """Each claim with its mark and its evidence; where to look when it was not kept."""
    whole = Table(title="What was to be seen", title_justify="left", show_lines=False, expand=True)
    whole.add_column("", width=1)
    whole.add_column("Claim", ratio=2)
    whole.add_column("Evidence", ratio=3)
    for claim in claims:
        mark = Text("✓", style="green") if claim.kept else Text("✗", style="bold red")
        evidence = claim.evidence if claim.kept else f"{claim.evidence}  (look: {claim.look})"
        whole.add_row(mark, claim.sentence, Text(evidence))
    return whole


def summary_lines(claims: Sequence[Claim]) -> list[str]:
    """The summary for a pipe, where a table would be folded at 80 columns."""
    lines = []
    for claim in claims:
        lines.append(f"{'✓' if claim.kept else '✗'} {claim.sentence}")
        lines.append(f"    {claim.evidence}")
        if not claim.kept:
            lines.append(f"    look at: {claim.look}")
    return lines


def flag(keys: Mapping[str, str] | None) -> str:
    """The Secret's keys in a few words."""
    if keys is None:
        return "unreadable"
    if not keys:
        return "no keys (V1)"
    short = {name.removeprefix("USE_ORCHESTRATOR_V2").strip("_").lower(): value for name, value in keys.items()}
    words = [short.pop("", "no main key")]
    words += [f"{name} {value}" for name, value in sorted(short.items(), reverse=True)]
    return ", ".join(words)


def last_decision(status: Mapping[str, Any]) -> str:
    """The newest decision of a rollout's status, as a sentence."""
    decisions = status.get("decisions") or ()
    return decision(decisions[-1]) if decisions else "-"


def decision(entry: Mapping[str, Any]) -> str:
    """One decision: what, why."""
    reason = f" ({entry['reason']})" if entry.get("reason") else ""
    return f"{entry.get('action', '?')}{reason}: {entry.get('message', '')}"


def clock(seconds: float) -> str:
    """Minutes and seconds, as `m:ss`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _percent(status: Mapping[str, Any]) -> str:
    value = status.get("percent")
    return "-" if value is None or value == "" else f"{plain(value)} %"


def _number(value: float, digits: int = 1) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
