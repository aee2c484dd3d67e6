"""The published tables of the rollout controller's scores: Markdown, made from the JSON alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.simulation.score import show_share

from tests.benchmarks.report import number, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    Row = Mapping[str, Any]

_GOALS = {5: "5", 25: "6", 50: "9", 99: "about 400"}


def scores(result: Mapping[str, Any]) -> str:
    """All tables of `python -m tests.benchmarks rollout`."""
    groups: dict[str, list[Row]] = {}
    for row in result["rows"]:
        groups.setdefault(row["group"], []).append(row)
    parts = [f"Seed {result['seed']}, at `{result['machine']['commit']}`. {_checked(result['rows'])}"]
    parts += ["### A healthy V2", _healthy(groups.get("null", [])), *_outages(groups.get("null", []))]
    parts += ["### A V2 that fails more often", _limits([*groups.get("effect", []), *groups.get("onset", [])])]
    parts += ["### Other harms", _harms(groups.get("kind", []))]
    parts += ["### A V2 that fails everything", _handful(result["handful"])]
    return "\n\n".join(parts) + "\n"


def _checked(rows: list[Row]) -> str:
    looked = [row for row in rows if "differences" in row]
    wrong = sum(len(row["differences"]) for row in looked)
    agree = "decided the same" if not wrong else f"**decided otherwise {wrong} times**"
    return f"A rollout of {len(looked)} worlds was given to `judge()` and `plan()` look by look: they {agree}."


def _healthy(rows: list[Row]) -> str:
    excused = "cause to hold: disk / outage / V1"
    falsely = ("held falsely", excused, "held though not doubled")
    header = ("world", "runs", "rolled back", *falsely, "held at all", "h held", "h to 100 %", "90 %", "asked")
    return table(header, [_null(row) for row in rows])


def _null(row: Row) -> tuple[str, ...]:
    held = row["held"].values()
    to_all = row["hoursToAll"]
    return (
        row["name"],
        number(row["runs"]),
        _share(row["rolledBack"]),
        _share(row["falselyHeld"]),
        _excused(row["excused"]),
        f"{100 * row['notDoubled']['share']:.1f} %",
        f"{100 * max(item['share'] for item in held):.0f} %",
        number(sum(item["hoursPerRun"] for item in held), 1),
        number(to_all["median"]),
        number(to_all["p90"]),
        number(row["approvals"], 1),
    )


def _excused(shares: Mapping[str, float]) -> str:
    """Of the time until the end: what else holds has no excuse at all."""
    told = (f"{100 * shares[reason]:.2g}" for reason in ("GuardrailBroken", "Blind", "SharedDegradation"))
    return " / ".join(told) + " %"


def _limits(rows: list[Row]) -> str:
    delays = ("median h", "90 % h", "limit h", "times the limit", "… less age and look", "… of its own traffic")
    header = ("world", "caught", *delays, "times the coin's limit", "failures too many", "looked at")
    return table(
        header,
        [
            (
                row["name"],
                _share(row["rolledBack"]),
                *_hours(row),
                number(row["limitHours"], 1),
                *(number(ratio, 2) for ratio in _ratios(row)),
                number(row["excessFailures"]),
                f"{row['stepMinutes']:g} min",
            )
            for row in rows
        ],
    )


def _ratios(row: Row) -> tuple[float | None, ...]:
    """The median delay over the limit: as it is, without the wait for age and look, run by run; over the coin's."""
    median, limit = row["hoursToRollBack"]["median"], row["limitHours"]
    if median is None:
        return None, None, row["ratioOfOwn"], None
    waited = (row["ageMinutes"] + row["stepMinutes"]) / 60
    rest = (median - waited) / limit if median > waited else None  # sooner than that age: by an earlier one
    return row["ratio"], rest, row["ratioOfOwn"], median / row["coinLimitHours"]


def _outages(rows: list[Row]) -> list[str]:
    """What happened while Prometheus was away, on average, in the worlds where it ever was."""
    return [
        f"{row['name']}: {number(row['movesPerOutage'], 2)} moves of the percent an outage, and "
        f"{number(row['holdsPerOutage'], 2)} holds."
        for row in rows
        if row["holdsPerOutage"]
    ]


def _harms(rows: list[Row]) -> str:
    held = ("held as degraded (median)", "held by a guardrail (median)")
    header = ("world", "rolled back", "median h", "90 % h", "failures too many", *held, "convicted by")
    return table(
        header,
        [
            (
                row["name"],
                _share(row["rolledBack"]),
                *_hours(row),
                number(row["excessFailures"]),
                *(_first(row["held"][reason]) for reason in ("SharedDegradation", "GuardrailBroken")),
                _most(row["convictedBy"]),
            )
            for row in rows
        ],
    )


def _first(held: Row) -> str:
    """Of the runs; and after which time, where it was most of them."""
    after = held["hoursToTheFirst"]["median"]
    return f"{100 * held['share']:.0f} %" + ("" if after is None else f" ({number(after, 1)} h)")


def _handful(rows: list[Row]) -> str:
    header = ("V2's share", "executions on V2 until it is convicted: median", "99 %", "goal")
    return table(
        header,
        [
            (f"{row['percent']} %", number(row["median"]), number(row["p99"]), _GOALS.get(row["percent"], ""))
            for row in rows
        ],
    )


def _hours(row: Row) -> tuple[str, str]:
    found = row["hoursToRollBack"]
    return number(found["median"], 1), number(found["p90"], 1)


def _share(found: Row) -> str:
    return show_share(found["share"], found["low"], found["high"])


def _most(convicted: Mapping[str, int]) -> str:
    name = max(convicted, key=lambda key: convicted[key], default="")
    return name and f"{name} ({100 * convicted[name] / sum(convicted.values()):.0f} %)"
