"""Settings: from the environment and options, each wrong one named."""

from __future__ import annotations

import pytest
from orchestrator_operator import settings


def test_nothing_set_is_fine() -> None:
    found = settings.read({})
    assert (found.namespace, found.flag_secret, found.v1) == ("default", "orchestrator-flags", "builtin")


def test_the_environment_is_read() -> None:
    found = settings.read({"ORCHESTRATOR_NAMESPACE": "shop", "ORCHESTRATOR_SCHEMA": "flows", "HOME": "/"})
    assert (found.namespace, found.schema_) == ("shop", "flows")


def test_an_option_wins_and_one_that_is_not_given_does_not() -> None:
    environment = {"ORCHESTRATOR_NAMESPACE": "shop", "ORCHESTRATOR_METRICS_PORT": "1"}
    found = settings.read(environment, namespace="till", metrics_port=None)
    assert (found.namespace, found.metrics_port) == ("till", 1)


def test_durations_are_written_as_everywhere() -> None:
    assert settings.read({"ORCHESTRATOR_RESYNC_INTERVAL": "500ms"}).resync_interval == 0.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORCHESTRATOR_METRICS_PORT", "high"),
        ("ORCHESTRATOR_METRICS_PORT", "70000"),
        ("ORCHESTRATOR_RESYNC_INTERVAL", "1 parsec"),
        ("ORCHESTRATOR_RESYNC_INTERVAL", "0s"),
        ("ORCHESTRATOR_V1", "grpc"),
        ("ORCHESTRATOR_PROMETHEUS", "localhost:9090"),
        ("ORCHESTRATOR_NAMESPACE", ""),
    ],
)
def test_a_wrong_one_is_named_with_its_value(name: str, value: str) -> None:
    with pytest.raises(settings.InvalidSettings) as caught:
        settings.read({name: value})
    assert [problem.path for problem in caught.value.problems] == [name]
    assert repr(value) in caught.value.problems[0].message


def test_every_wrong_one_is_named() -> None:
    with pytest.raises(settings.InvalidSettings) as caught:
        settings.read({"ORCHESTRATOR_V1": "x", "ORCHESTRATOR_STATUS_WRITES": "0"})
    assert len(caught.value.problems) == 2


def test_each_setting_has_a_sentence() -> None:
    for name, info in settings.fields().items():
        assert info.description, name
        assert info.description.endswith("."), name
