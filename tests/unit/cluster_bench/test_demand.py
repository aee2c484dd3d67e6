"""What a day would take, as arithmetic from measured costs."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.cluster import tables


def _row(size: int, seconds: float) -> dict[str, Any]:
    """Every process takes so many seconds for 1,000 executions."""
    names = ("operator", "worker", "postgresql", "kube-apiserver", "etcd")
    flood = {
        "cpu_s_per_1000": dict.fromkeys(names, seconds),
        "writes_per_execution": 2.0,
        "stored_bytes_per_execution": 5000.0,
    }
    return {"resources": size, "flood": flood}


def _cells(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in tables.demand({"rows": rows}).splitlines() if "|" in line]
    return {name: values for name, *values in lines}


def test_a_day_of_a_million_is_its_mean_rate_and_its_peak() -> None:
    cells = _cells([_row(1000, 2.0)])
    assert cells["executions a second, mean and peak"][0] == "11.6, 58"
    assert cells["steps a second, peak"][0] == "579"


def test_cores_are_the_peak_rate_times_the_time_of_one() -> None:
    cells = _cells([_row(1000, 2.0)])
    assert cells["workers, cores at the peak"] == ["0.1", "1.2", "12"]
    assert cells["*as resources:* API servers and etcd, cores at the peak"][2] == "23"


def test_deletion_is_a_write_and_history_is_kept() -> None:
    cells = _cells([_row(1000, 2.0)])
    assert cells["*as resources:* API writes a second, peak"][0] == "174"
    assert cells["store, GB a day"] == ["5.0", "50.0", "500.0"]


def test_the_costs_are_those_of_the_largest_size_that_is_no_heap_of_finished_ones() -> None:
    both = [_row(100, 9.0), _row(1000, 2.0), _row(10_000, 7.0)]
    assert _cells(both) == _cells([_row(1000, 2.0)])
