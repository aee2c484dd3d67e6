"""What was measured, as tables for people: Markdown, made from the JSON alone."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from tests.benchmarks.load import STEPS
from tests.benchmarks.report import number, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Row = Mapping[str, Any]

_NAMES = {"ours": "**Orchestrator**", "argo": "Argo Workflows"}


def cluster(result: Mapping[str, Any]) -> str:
    """Everything of one run."""
    rows = result["rows"]
    parts = [_about(result), "### All at once", _flood(rows)]
    parts += ["### What it costs", _costs(rows)]
    parts += ["### Beside so many resources", _beside(rows)]
    if argo := result.get("argo"):
        parts += ["### Beside Argo Workflows", _argo(argo)]
    return "\n\n".join(parts) + "\n"


def _about(result: Row) -> str:
    on = result["machine"]
    loads = ", ".join(f"{number(row['resources'])}: {row['load_average'][0]:.1f}" for row in result["rows"])
    return (
        f"Measured {on['at']} at `{on['commit']}`, in {result['minutes']} minutes: {on['cpu']}, {on['cores']} cores, "
        f"{on['memory_gb']} GB, {on['file_system']}. Load average when each size began: {loads}. Medians where a size "
        "was measured more than once; in brackets the lowest and the highest."
    )


def _flood(rows: Sequence[Row]) -> str:
    header = (
        "resources",
        "created alone/s",
        "created/s",
        "ended/s",
        "ended of created",
        "of alone",
        "p50 s",
        "p99 s",
        "API writes each",
        "reads each",
    )
    lines = [
        (
            number(size),
            _spread(same, _alone),
            _spread(same, lambda row: row["flood"]["created_per_second"]),
            _spread(same, lambda row: row["flood"]["ended_per_second"]),
            _spread(same, _share, 2),
            _spread(same, lambda row: row["flood"]["ended_per_second"] / _alone(row), 2),
            _middle(same, lambda row: row["flood"]["to_end"]["p50_s"], 2),
            _middle(same, lambda row: row["flood"]["to_end"]["p99_s"], 2),
            _middle(same, lambda row: row["flood"]["writes_per_execution"], 2),
            _middle(same, lambda row: row["flood"]["reads_per_execution"], 2),
        )
        for size, same in _by_size(rows)
    ]
    return table(header, lines)


def _costs(rows: Sequence[Row]) -> str:
    header = (
        "resources",
        "CPU s per 1,000: operator",
        "worker",
        "PostgreSQL",
        "API server",
        "etcd",
        "operator at rest, % of a core",
        "operator MB, at rest",
        "afterwards",
        "peak",
        "API server MB",
        "database KB each",
    )
    lines = [
        (
            number(size),
            *(
                _middle(same, lambda row, name=name: row["flood"]["cpu_s_per_1000"][name], 2)
                for name in ("operator", "worker", "postgresql", "kube-apiserver", "etcd")
            ),
            _middle(same, lambda row: row["idle_cpu_share"]["operator"] * 100, 1),
            _middle(same, lambda row: row["idle"]["operator"]),
            _middle(same, lambda row: row["flood"]["memory_mb"]["operator"]),
            _middle(same, lambda row: row["flood"]["peak_mb"]["operator"]),
            _middle(same, lambda row: row["flood"]["memory_mb"]["kube-apiserver"]),
            _middle(same, lambda row: row["flood"]["stored_bytes_per_execution"] / 1000, 1),
        )
        for size, same in _by_size(rows)
    ]
    return table(header, lines)


def _beside(rows: Sequence[Row]) -> str:
    header = (
        "resources there",
        "paced: p50 s",
        "p99 s",
        "writes each",
        "restart: ready s",
        "first end s",
        "operator MB",
        "swept: p50 s late",
        "p99 s late",
        "writes each, deletion included",
    )
    lines = [
        (
            number(size),
            _middle(same, lambda row: row["paced"]["to_end"]["p50_s"], 2),
            _middle(same, lambda row: row["paced"]["to_end"]["p99_s"], 2),
            _middle(same, lambda row: row["paced"]["writes_per_execution"], 2),
            _middle(same, lambda row: row["restart"]["ready_s"], 1),
            _middle(same, lambda row: row["restart"]["first_end_s"], 1),
            _middle(same, lambda row: row["restart"]["memory_mb"]),
            _middle(same, lambda row: row["swept"]["after_due"]["p50_s"], 2),
            _middle(same, lambda row: row["swept"]["after_due"]["p99_s"], 2),
            _middle(same, lambda row: row["swept"]["writes_per_execution"], 2),
        )
        for size, same in _by_size(rows)
    ]
    return table(header, lines)


def _argo(argo: Row) -> str:
    header = (
        "",
        "executions of ten steps",
        "seconds",
        "ended/s",
        "p50 s",
        "API writes each",
        "controller's CPU s each",
        "API server's",
    )
    lines = []
    for row in argo["rows"]:
        name = f"{_NAMES[row['who']]} {argo['version'] if row['who'] == 'argo' else ''}".strip()
        cpu = row["cpu_s_per_1000"]
        mine = cpu["controller"] if row["who"] == "argo" else cpu["operator"] + cpu["worker"]
        lines.append(
            (
                f"{name}, {row['set']}" if row["set"] else f"{name}, operator and worker",
                number(row["count"]),
                number(row["seconds"], 1),
                number(row["ended_per_second"], 2),
                number(row["to_end"]["p50_s"], 2),
                number(row["writes_per_execution"], 1),
                number(mine / 1000, 3),
                number(cpu["kube-apiserver"] / 1000, 3),
            )
        )
    return table(header, lines)


def _by_size(rows: Sequence[Row]) -> list[tuple[int, list[Row]]]:
    sizes = sorted({row["resources"] for row in rows})
    return [(size, [row for row in rows if row["resources"] == size]) for size in sizes]


def _alone(row: Row) -> float:
    """The better of the two: what the API server took when nobody else wanted anything."""
    both = [row[when]["created_per_second"] for when in ("alone_before", "alone_after") if row[when]]
    return max(both, default=float("nan"))


def _share(row: Row) -> float:
    return float(row["flood"]["ended_per_second"] / row["flood"]["created_per_second"])


def _values(rows: Sequence[Row], read: Callable[[Row], float]) -> list[float]:
    """Of the rows that have it: a load may have been left out."""
    found = []
    for row in rows:
        try:
            found.append(read(row))
        except (TypeError, KeyError):  # it was not measured
            continue
    return found


def _middle(rows: Sequence[Row], read: Callable[[Row], float], digits: int = 0) -> str:
    values = _values(rows, read)
    return number(median(values) if values else None, digits)


def _spread(rows: Sequence[Row], read: Callable[[Row], float], digits: int = 0) -> str:
    values = _values(rows, read)
    if len(values) < 2:
        return _middle(rows, read, digits)
    return f"{number(median(values), digits)} ({number(min(values), digits)}-{number(max(values), digits)})"


# -- what the numbers say of a day
DAYS = (10**6, 10**7, 10**8)  # executions
PEAK = 5  # times the mean, in the busiest hour
TTL = 600.0  # seconds that a finished resource stays
RETENTION = 30  # days that the store keeps what is finished
_DAY = 86_400.0


def demand(result: Mapping[str, Any]) -> str:
    """What so many executions a day would take, by the costs of the largest size below 10,000 that was measured."""
    size, same = [(size, rows) for size, rows in _by_size(result["rows"]) if size < 10_000][-1]

    def cpu(name: str) -> float:
        """Seconds of a core for one execution."""
        return median(row["flood"]["cpu_s_per_1000"][name] for row in same) / 1000

    writes = median(row["flood"]["writes_per_execution"] for row in same) + 1  # its deletion
    stored = median(row["flood"]["stored_bytes_per_execution"] for row in same)
    shown = (
        ("executions a second, mean and peak", lambda rate, _: f"{number(rate, 1)}, {number(rate * PEAK)}"),
        ("steps a second, peak", lambda rate, _: number(rate * PEAK * STEPS)),
        ("workers, cores at the peak", lambda rate, _: _cores(rate * PEAK * cpu("worker"))),
        ("PostgreSQL, cores at the peak", lambda rate, _: _cores(rate * PEAK * cpu("postgresql"))),
        ("store, GB a day", lambda _, day: number(day * stored / 1e9, 1)),
        (f"store, TB in {RETENTION} days", lambda _, day: number(day * stored * RETENTION / 1e12, 2)),
        ("*as resources:* API writes a second, peak", lambda rate, _: number(rate * PEAK * writes)),
        ("*as resources:* operators, cores at the peak", lambda rate, _: _cores(rate * PEAK * cpu("operator"))),
        (
            "*as resources:* API servers and etcd, cores at the peak",
            lambda rate, _: _cores(rate * PEAK * (cpu("kube-apiserver") + cpu("etcd"))),
        ),
        (f"*as resources:* there at the peak, ttl {TTL / 60:g} minutes", lambda rate, _: number(rate * PEAK * TTL)),
    )
    header = ("", *(f"{number(day)} a day" for day in DAYS))
    lines = [(name, *(render(day / _DAY, day) for day in DAYS)) for name, render in shown]
    told = (
        f"Ten steps each; the costs are those of {number(size)} resources at once "
        f"([measured](benchmarks.md#executions-as-resources)). The peak is {PEAK} times the mean."
    )
    return f"{told}\n\n{table(header, lines)}\n"


def _cores(value: float) -> str:
    return number(value, 1 if value < 10 else 0)
