"""deploy/overlays/single: one Pod that is everything, and that cannot be two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.polling import eventually
from tests.support.site import execution, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.kind_cluster import Cluster

pytestmark = [pytest.mark.kind, pytest.mark.timeout(900, func_only=True)]

OPERATOR = "deployment/orchestrator-operator"


@pytest.fixture(scope="module")
def single(cluster: Cluster) -> Iterator[Cluster]:
    """In a namespace of its own, so that it may stand beside another installation."""
    one = replace(cluster, namespace="orchestrator-single")
    one.kubernetes = cluster.kubernetes
    one.kubectl("apply", "-k", one.overlay("single", namespace=one.namespace))
    one.until_rolled_out("orchestrator-operator")
    one.apply(workflow("hello", {"id": "greet", "type": "transform", "with": {"said": "hello"}}))
    yield one
    one.kubectl("delete", "namespace", one.namespace, "--timeout=120s", within=140)


def test_an_execution_succeeds_with_nothing_else_in_the_cluster(single: Cluster) -> None:
    single.apply(execution("first", "hello"))
    single.kubectl("wait", "execution/first", "--for=jsonpath={.status.phase}=Success", "--timeout=90s")


def test_what_was_stored_outlives_the_pod(single: Cluster) -> None:
    single.apply(execution("kept", "hello"))
    single.kubectl("wait", "execution/kept", "--for=jsonpath={.status.phase}=Success", "--timeout=90s")
    single.kubectl("rollout", "restart", OPERATOR)
    single.until_rolled_out("orchestrator-operator")
    said = single.kubectl("exec", OPERATOR, "--", "orchestrator", "executions", "list", "--output", "json")
    assert single.get("execution", "kept")["metadata"]["uid"] in said


def test_a_second_replica_refuses_to_start_and_says_why(single: Cluster) -> None:
    single.kubectl("scale", OPERATOR, "--replicas=2")
    try:
        refused = eventually(
            lambda: next((pod for pod in single.pods("operator") if restarted(pod)), None), "a refusal", within=120
        )
        said = single.kubectl("logs", refused["metadata"]["name"], "--previous")
        assert "SQLite is for one replica" in said
        assert "Traceback" not in said
    finally:
        single.kubectl("scale", OPERATOR, "--replicas=1")
    single.until_rolled_out("orchestrator-operator")


def restarted(pod: dict[str, Any]) -> bool:
    found = pod["status"].get("containerStatuses", ())
    return any(one["restartCount"] > 0 for one in found)
