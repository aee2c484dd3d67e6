"""The metrics of this process: what they grew by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Mapping


def series(prefix: str) -> Mapping[tuple[str, tuple[str, ...]], float]:
    """Every sample of the process whose name begins so: (name, its labels' values) -> value."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name.startswith(prefix) and not sample.name.endswith("_created")
    }


class Growth:
    """What counters of a prefix have grown by since this was made; what did not grow is left out."""

    def __init__(self, prefix: str) -> None:
        self._prefix, self._before = prefix, series(prefix)

    def so_far(self) -> dict[tuple[str, ...], float]:
        """By the labels' values; of counters alone, or of a histogram's count."""
        return {
            labels: value - self._before.get((name, labels), 0.0)
            for (name, labels), value in series(self._prefix).items()
            if name.endswith(("_total", "_count")) and value != self._before.get((name, labels), 0.0)
        }
