"""What was measured, as tables for people: Markdown, made from the JSON alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Row = Mapping[str, Any]

NAMES = {
    "ours": "**Orchestrator**",
    "ours-transform": "Orchestrator, `transform` steps",
    "ours-sqlite": "Orchestrator on SQLite",
    "group-commit": "*group commit, no engine*",
    "http-client": "*HTTP client, no engine*",
    "dbos": "DBOS, coroutines",
    "dbos-threads": "DBOS, threads",
    "temporal": "Temporal, state in a file",
    "temporal-memory": "Temporal, state in memory",
}
TITLES = {"trivial": "Ten trivial steps", "http": "Ten HTTP steps of 50 ms"}
PEERS = ("dbos", "dbos-threads")
LIMITS = ("group-commit", "http-client")  # what no engine can pass: the one of trivial steps, the one of HTTP steps
OURS = "ours"


def side_by_side(result: Mapping[str, Any]) -> str:
    """The tables of a side-by-side run."""
    rows = result["summary"]
    parts = [_about(result), _limit(result)]
    for workload in dict.fromkeys(row["workload"] for row in rows):
        parts.append(f"### {TITLES[workload]}")
        parts.append(_workload([row for row in rows if row["workload"] == workload]))
    parts.append("### How far apart")
    parts.append(_ratios(rows, result["limit"]["best"]))
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None, digits: int = 0) -> str:
    """`12,345`; a dash for what was not measured."""
    return "-" if value is None else f"{value:,.{digits}f}"


def _rate(value: float) -> str:
    return number(value, 1 if value < 10 else 0)


def _about(result: Mapping[str, Any]) -> str:
    on, database, packages, method = (result[key] for key in ("machine", "postgresql", "versions", "method"))
    settings = ", ".join(f"`{name} = {value}`" for name, value in database["settings"].items())
    loads = ", ".join(str(load) for load in on["load_average"])
    shared = "shared by load, engine and database"
    warmup, measured = f"{method['warmup_s']:g} s to warm up", f"{method['measured_s']:g} s measured"
    peers = f"DBOS Transact {packages['dbos']}, Temporal {packages['temporal']} with SDK {packages['temporalio']}"
    lines = (
        f"- Measured {on['at']} at `{on['commit']}`, in {result['minutes']} minutes; load average before: {loads}.",
        f"- {on['cpu']}, {on['cores']} cores, {on['memory_gb']} GB, {on['kernel']}, {on['file_system']}, {shared}.",
        f"- PostgreSQL {database['version']}: {settings}.",
        f"- Python {on['python']}, {peers}.",
        f"- {method['rounds']} rounds, interleaved; each load {warmup}, then {measured}.",
        "- Medians of the rounds; in brackets the lowest and the highest.",
    )
    return "\n".join(lines)


def _limit(result: Mapping[str, Any]) -> str:
    method, best = result["method"], result["limit"]["best"]
    if best is None:
        return "The limit was not measured."
    by_clients: dict[int, list[float]] = {}
    for row in result["limit"]["rounds"]:
        by_clients.setdefault(row["clients"], []).append(row["commits_per_second"])
    rates = "; ".join(
        f"{clients} clients: {number(sorted(rates)[len(rates) // 2])}/s ({number(min(rates))}-{number(max(rates))})"
        for clients, rates in by_clients.items()
    )
    return (
        f"**The limit**, `pgbench` with one-row insert commits (`{method['pgbench_script']}`): {rates}. "
        f"The best is {number(best['commits_per_second'])}/s."
    )


def _workload(rows: Sequence[Row]) -> str:
    header = (
        "",
        "at once",
        "steps/s",
        "p50 ms",
        "p99 ms",
        "CPU s per 1,000 steps: client",
        "database",
        "memory MB: client, peak",
        "database",
    )
    return table(header, [_line(row) for row in rows])


def _line(row: Row) -> tuple[str, ...]:
    name, at_once = NAMES[row["contender"]], str(row["at_once"])
    if "steps_per_second" not in row:
        return (name, at_once, "failed", *["-"] * 6)
    rate, lowest, highest = (_rate(row[f"{which}steps_per_second"]) for which in ("", "lowest_", "highest_"))
    return (
        name,
        at_once,
        f"{rate} ({lowest}-{highest})",
        *(f"{'≥ ' * row[f'{name}_is_lower_bound']}{number(row[f'{name}_ms'])}" for name in ("p50", "p99")),
        number(row["client_cpu_s_per_1000_steps"], 2),
        number(row["server_cpu_s_per_1000_steps"], 2),
        number(row["client_peak_mb"]),
        number(row["server_mb"]),
    )


def _ratios(rows: Sequence[Row], best: Mapping[str, Any] | None) -> str:
    lines = []
    for workload, at_once in dict.fromkeys((row["workload"], row["at_once"]) for row in rows):
        rates = {
            row["contender"]: row["steps_per_second"]
            for row in rows
            if (row["workload"], row["at_once"]) == (workload, at_once) and "steps_per_second" in row
        }
        ours = rates.get(OURS)
        if ours is None:
            continue
        lines.append(
            (
                TITLES[workload],
                str(at_once),
                number(ours),
                *_times(ours, max((rates[name] for name in PEERS if name in rates), default=None)),
                *_times(ours, rates.get("temporal")),
                f"{ours / best['commits_per_second']:.2f}" if best and workload == "trivial" else "-",
                next((f"{ours / rates[name]:.2f}" for name in LIMITS if name in rates), "-"),
            )
        )
    header = (
        "",
        "at once",
        "ours, steps/s",
        "of the better DBOS",
        "of Temporal (file)",
        "of the best pgbench",
        "of group commit, or the client, alone",
    )
    return table(header, lines)


def _times(ours: float, theirs: float | None) -> tuple[str]:
    return (f"{ours / theirs:.1f} x",) if theirs else ("-",)


def sizes(result: Mapping[str, Any]) -> str:
    """The table of executions by their size."""
    shapes = {"chain": "one after the other", "fan": "all at once", "map": "items of a map"}
    header = ("nodes", "ended", "seconds", "steps", "ms a step", "CPU ms a step", "compiled in s", "memory MB")
    lines = []
    for row in result["rows"]:
        name = f"{row['size']:,} {shapes[row['shape']]}"
        if "skipped" in row or "error" in row:
            lines.append((name, _reason(row), *["-"] * 6))
            continue
        figures = (row["ms_per_step"], row["cpu_ms_per_step"], row["compile_seconds"])
        measured = (number(row["seconds"], 1), number(row["steps"]), *(number(figure, 2) for figure in figures))
        lines.append((name, "yes" if row["finished"] else "no", *measured, number(row["peak_mb"])))
    return f"{_on(result)}\n\n{table(header, lines)}\n"


def waiting(result: Mapping[str, Any]) -> str:
    """The table of what waiting executions cost."""
    lines: list[tuple[str, ...]] = []
    header = ("waiting", "transactions/s", "worker, % of a core", "database, % of a core", "worker's memory MB")
    for row in result["rows"]:
        if "error" in row:
            lines.append((number(row["waiting"]), _reason(row), "-", "-", "-"))
            continue
        shares = (100 * row["worker_cores"], 100 * row["database_cores"])
        shown = (number(row["transactions_per_second"], 1), *(number(share, 1) for share in shares))
        lines.append((number(row["waiting"]), *shown, number(row["worker_peak_mb"])))
    return f"{_on(result)}\n\n{table(header, lines)}\n"


def monitoring(result: Mapping[str, Any]) -> str:
    """The table of claims and queries beside a full store."""
    postgresql, sqlite = (result["databases"][name] for name in ("postgresql", "sqlite"))
    full = f"{number(postgresql['executions'])} executions, {number(postgresql['events'])} events"
    tenth = f"{number(sqlite['executions'])} executions, {number(sqlite['events'])} events"
    header = ("milliseconds, median (first)", f"PostgreSQL, {full}", f"SQLite, {tenth}")
    lines = [
        (f"query: {name}", *(_both(database["queries"][name]) for database in (postgresql, sqlite)))
        for name in postgresql["queries"]
    ]
    for name, key in (("claim of 200 executions", "claim_ms"), ("claim while nothing is due", "nothing_due_ms")):
        lines.append((name, number(postgresql[key], 1), number(sqlite[key], 1)))
    return f"{_on(result)}\n\n{table(header, lines)}\n"


def processes(result: Mapping[str, Any]) -> str:
    """The table of worker processes."""
    header = ("processes", "steps/s", "of one", "CPU s per 1,000 steps: workers", "database")
    single = result["rows"][0]["steps_per_second"]
    lines = [
        (
            str(row["processes"]),
            number(row["steps_per_second"]),
            f"{row['steps_per_second'] / single:.2f} x",
            number(row["worker_cpu_s_per_1000_steps"], 2),
            number(row["database_cpu_s_per_1000_steps"], 2),
        )
        for row in result["rows"]
    ]
    return f"{_on(result)}\n\n{table(header, lines)}\n"


def _on(result: Mapping[str, Any]) -> str:
    on = result["machine"]
    where = f"{on['cpu']}, {on['cores']} cores, {on['memory_gb']} GB, PostgreSQL {result['postgresql']['version']}"
    return f"Measured {on['at']} at `{on['commit']}`: {where}."


def _reason(row: Row) -> str:
    return f"skipped: {row['skipped']}" if "skipped" in row else f"failed: {row['error'].splitlines()[-1]}"


def _both(answer: Row) -> str:
    return f"{number(answer['median_ms'], 1)} ({number(answer['first_ms'], 1)})"
