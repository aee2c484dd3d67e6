"""Prometheus' words without Prometheus: samples and selectors. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of an instant query, with its labels (without the metric's name). It may be NaN or infinite."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """The raw samples of one series: (seconds since 1970 by Prometheus' clock, value), oldest first, all finite."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


def selector(metric: str, labels: Mapping[str, str]) -> str:
    """`metric{label="value",…}` with every value escaped. Raises ValueError for what can be no label's name."""
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{label!r} is no label of Prometheus")
    return metric + "{" + ",".join(f'{label}="{_escape(value)}"' for label, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
