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
    from pathlib import Path
    from typing import Any

_LONGEST_TIMEOUT = timedelta(seconds=10)
_EVALUATION = timedelta(seconds=5)  # rules look over days: no need to do so every second


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One address to scrape (`127.0.0.1:9090`, path /metrics), under a job's name; with a namespace, its series bear
    it as a label, as those of a pod do in a cluster.
    """

    job: str
    address: str
    namespace: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        """`operator=127.0.0.1:9090` as a target; ValueError says what it should look like."""
        job, separator, address = text.partition("=")
        host, colon, port = address.rpartition(":")
        if not (job and separator and host and colon and port.isdigit()):
            raise ValueError(f"{text!r} is not a target: write JOB=HOST:PORT, such as operator=127.0.0.1:9090")
        return cls(job, address)


def render(targets: Iterable[Target], interval: timedelta, rules: Path | None = None) -> str:
    """Prometheus' configuration file: static targets, one job for each name; `rules` may be there or not."""
    timeout = min(interval, _LONGEST_TIMEOUT)  # Prometheus refuses a timeout that is longer than the interval
    document = {
        "global": {
            "scrape_interval": durations.show(interval),
            "scrape_timeout": durations.show(timeout),
            "evaluation_interval": durations.show(max(interval, _EVALUATION)),
        },
        "rule_files": [f"{rules}*"] if rules else [],  # a pattern: a file that is not there is no error
        "scrape_configs": [
            {"job_name": job, "static_configs": [_static(*one) for one in groupby(group, key=_namespace)]}
            for job, group in groupby(sorted(set(targets)), key=lambda target: target.job)
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _namespace(target: Target) -> str:
    return target.namespace


def _static(namespace: str, targets: Iterable[Target]) -> dict[str, Any]:
    found: dict[str, Any] = {"targets": [target.address for target in targets]}
    return found | ({"labels": {"namespace": namespace}} if namespace else {})
