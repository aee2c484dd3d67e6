from __future__ import annotations

from datetime import timedelta

import pytest
import yaml
from orchestrator_operator.local.scraping import Target, render


def test_targets_of_one_job_are_scraped_together() -> None:
    targets = [Target("worker", "127.0.0.1:2"), Target("operator", "127.0.0.1:1"), Target("worker", "127.0.0.1:3")]
    jobs = yaml.safe_load(render(targets, timedelta(seconds=1)))["scrape_configs"]
    assert jobs == [
        {"job_name": "operator", "static_configs": [{"targets": ["127.0.0.1:1"]}]},
        {"job_name": "worker", "static_configs": [{"targets": ["127.0.0.1:2", "127.0.0.1:3"]}]},
    ]


def test_a_target_in_a_namespace_bears_its_label_as_a_pod_would() -> None:
    targets = [Target("worker", "127.0.0.1:2", "shop"), Target("worker", "127.0.0.1:1")]
    (job,) = yaml.safe_load(render(targets, timedelta(seconds=1)))["scrape_configs"]
    assert job["static_configs"] == [
        {"targets": ["127.0.0.1:1"]},
        {"targets": ["127.0.0.1:2"], "labels": {"namespace": "shop"}},
    ]


@pytest.mark.parametrize(("interval", "timeout"), [(timedelta(seconds=1), "1s"), (timedelta(minutes=1), "10s")])
def test_a_scrape_never_takes_longer_than_its_interval(interval: timedelta, timeout: str) -> None:
    assert yaml.safe_load(render([], interval))["global"]["scrape_timeout"] == timeout


def test_a_target_is_read_from_its_text() -> None:
    assert Target.parse("operator=127.0.0.1:9100") == Target("operator", "127.0.0.1:9100")


@pytest.mark.parametrize("text", ["127.0.0.1:9100", "operator=", "operator=localhost", "=a:1", "a=b:x"])
def test_what_is_no_target_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="JOB=HOST:PORT"):
        Target.parse(text)
