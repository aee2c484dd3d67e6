"""The tables of the rivals' scores: Markdown, made from the JSON alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.simulation.score import show_share

from tests.benchmarks.report import number, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    Row = Mapping[str, Any]


def scores(result: Row) -> str:
    """Both tables of `python -m tests.benchmarks rollout-rivals`."""
    runs = f"{result['runs']:,} runs of each world with a healthy V2, {result['harmRuns']:,} of each other one"
    parts = [f"{runs}, seed {result['seed']}, at `{result['machine']['commit']}`."]
    header = ("rule", "world", "false rollbacks", "caught", "median h", "90 % h", "excess failures", "an outage")
    parts += ["### As documented", table(header, [_documented(row) for row in result["documented"]])]
    rate = f"{100 * result['atMost']:g} % false rollbacks"
    parts.append(f"### At most {rate} in every null world of that load and base rate")
    header = ("family", "world", "false rollbacks", "caught", "median h", "90 % h", "excess failures", "setting")
    parts.append(table(header, [_matched(row) for row in result["matched"]]))
    return "\n\n".join(parts) + "\n"


def _documented(row: Row) -> tuple[str, ...]:
    outages = number(row["actionsPerOutage"], 2)
    return _plain(row["rule"]), row["world"], _share(row["rolledBackFalsely"]), *_delay(row), outages


def _matched(row: Row) -> tuple[str, ...]:
    if row["rule"] is None:
        return row["family"], row["world"], "-", "-", "-", "-", "-", "no setting keeps the rate"
    setting = "" if row["rule"] == row["family"] else _plain(row["rule"])
    return row["family"], row["world"], _share(row["rolledBackFalsely"]), *_delay(row), setting


def _delay(row: Row) -> tuple[str, str, str, str]:
    if row["caught"] is None:
        return "-", "-", "-", "-"
    hours = row["hoursToRollBack"]
    told = ("never" if hours[key] is None else number(hours[key], 1) for key in ("median", "p90"))
    median, slow = told
    return f"{100 * row['caught']['share']:.0f} %", median, slow, number(row["excessFailures"])


def _share(found: Row) -> str:
    return show_share(found["share"], found["low"], found["high"])


def _plain(text: str) -> str:
    """Conditions have bars, which end a cell."""
    return text.replace("|", "\\|")
