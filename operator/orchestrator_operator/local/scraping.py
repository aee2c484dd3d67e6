"""What Prometheus scrapes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING

import yaml

from orchestrator import durations

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_TIMEOUT = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One address to scrape (`127.0.0.1:9090`, path /metrics), under a job's name."""

    job: str
    address: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """`operator=127.0.0.1:9090` as a target; ValueError says what it should look like."""
        job, separator, address = text.partition("=")
        host, colon, port = address.rpartition(":")
        if not (job and separator and host and colon and port.isdigit()):
            raise ValueError(f"{text!r} is not a target: write JOB=HOST:PORT, such as operator=127.0.0.1:9090")
        return cls(job, address)


def render(targets: Iterable[Target], interval: timedelta) -> str:
    """Prometheus' configuration file: static targets, one job for each name."""
    timeout = min(interval, _LONGEST_TIMEOUT)  # Prometheus refuses a timeout that is longer than the interval
    document = {
        "global": {"scrape_interval": durations.show(interval), "scrape_timeout": durations.show(timeout)},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target.address for target in group]}]}
            for job, group in groupby(sorted(set(targets)), key=lambda target: target.job)
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)
