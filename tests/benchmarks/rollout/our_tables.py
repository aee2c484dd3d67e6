"""The published tables of the rollout controller's scores: Markdown, made from the JSON alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.simulation.score import show_share

from tests.benchmarks.report import number, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    Row = Mapping[str, Any]


def scores(result: Mapping[str, Any]) -> str:
    """All tables of `python -m tests.benchmarks rollout`."""
    groups: dict[str, list[Row]] = {}
    for row in result["rows"]:
        groups.setdefault(row["group"], []).append(row)
    parts = [f"Seed {result['seed']}, at `{result['machine']['commit']}`. {_checked(result['rows'])}"]
    parts += ["### A healthy V2", _healthy(groups.get("null", []))]
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
    header = ("world", "runs", "rolled back", "held falsely", "held at all", "h held", "h to 100 %", "90 %", "asked")
    return table(header, [_null(row) for row in rows])


def _null(row: Row) -> tuple[str, ...]:
    held = row["held"].values()
    to_all = row["hoursToAll"]
    return (
        row["name"],
        number(row["runs"]),
        _share(row["rolledBack"]),
        _share(row["falselyHeld"]),
        f"{100 * max(item['share'] for item in held):.0f} %",
        number(sum(item["hoursPerRun"] for item in held), 1),
        number(to_all["median"]),
        number(to_all["p90"]),
        number(row["approvals"], 1),
    )


def _limits(rows: list[Row]) -> str:
    header = ("world", "caught", "median h", "90 % h", "limit h", "times the limit", "failures too many", "looked at")
    return table(
        header,
        [
            (
                row["name"],
                _share(row["rolledBack"]),
                *_hours(row),
                number(row["limitHours"], 1),
                number(row["ratio"], 2),
                number(row["excessFailures"]),
                f"{row['stepMinutes']:g} min",
            )
            for row in rows
        ],
    )


def _harms(rows: list[Row]) -> str:
    header = ("world", "rolled back", "median h", "90 % h", "failures too many", "held as degraded", "convicted by")
    return table(
        header,
        [
            (
                row["name"],
                _share(row["rolledBack"]),
                *_hours(row),
                number(row["excessFailures"]),
                f"{100 * row['held']['SharedDegradation']['share']:.0f} %",
                _most(row["convictedBy"]),
            )
            for row in rows
        ],
    )


def _handful(rows: list[Row]) -> str:
    header = ("V2's share", "executions on V2 until it is convicted: median", "99 %")
    return table(header, [(f"{row['percent']} %", number(row["median"]), number(row["p99"])) for row in rows])


def _hours(row: Row) -> tuple[str, str]:
    found = row["hoursToRollBack"]
    return number(found["median"], 1), number(found["p90"], 1)


def _share(found: Row) -> str:
    return show_share(found["share"], found["low"], found["high"])


def _most(convicted: Mapping[str, int]) -> str:
    name = max(convicted, key=lambda key: convicted[key], default="")
    return name and f"{name} ({100 * convicted[name] / sum(convicted.values()):.0f} %)"
