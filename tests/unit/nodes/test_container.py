from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.model import Node, RetryPolicy
from orchestrator.nodes.container import ContainerNode
from orchestrator.nodes.references import SecretRef
from orchestrator.nodes.runner import NodeRunner
from tests.support.services import failure

if TYPE_CHECKING:
    from orchestrator.nodes.base import StepContext
    from orchestrator.nodes.container_with import ContainerWith

CONTAINER = Node(
    "charge", "container", (), None, {}, RetryPolicy(1, timedelta(0), 1.0, timedelta(0), "none"), timedelta(1)
)
WITH = {
    "image": "shop/charge:1",
    "args": ["--order", "7"],
    "env": {"LOG": "info", "TOKEN": {"secret": "api", "key": "token"}},
    "resources": {"cpu": "500m", "memory": "256Mi"},
}


class Recorder:
    """A runtime that only writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[ContainerWith, str]] = []
        self.closed = False

    async def run(self, spec: ContainerWith, context: StepContext) -> Any:
        self.asked.append((spec, context.idempotency_key))
        if spec.image == "slow:1":
            await asyncio.sleep(0.05)
        return {"exitCode": 0}

    def stop(self, idempotency_key: str) -> None:
        raise AssertionError(idempotency_key)

    async def settle(self, namespace: str, execution_id: str) -> None:
        raise AssertionError(execution_id)

    async def aclose(self) -> None:
        self.closed = True


async def test_a_runtime_gets_a_checked_spec_with_secrets_by_reference(context: StepContext) -> None:
    runtime = Recorder()
    async with NodeRunner(containers=runtime) as runner:
        assert await runner.run(CONTAINER, WITH, context) == {"exitCode": 0}
    ((spec, key),) = runtime.asked
    assert (spec.image, spec.args, key) == ("shop/charge:1", ["--order", "7"], "e-1/charge")
    assert spec.env == {"LOG": "info", "TOKEN": SecretRef(secret="api", key="token")}
    assert runtime.closed


async def test_a_container_keeps_its_time_itself(context: StepContext) -> None:
    """Who waits for it now may have begun to wait late: the runtime knows when the container began."""
    async with NodeRunner(containers=Recorder()) as runner:
        hurried = dataclasses.replace(context, timeout=timedelta(milliseconds=1))
        assert await runner.run(CONTAINER, {"image": "slow:1"}, hurried) == {"exitCode": 0}


async def test_without_a_runtime_the_setting_is_named(context: StepContext) -> None:
    async with NodeRunner() as runner:
        error = await failure(runner.run(CONTAINER, WITH, context))
    assert (error.kind, error.retryable) == ("ContainersOff", True)
    assert "ORCHESTRATOR_CONTAINERS=kubernetes" in error.message


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"image": ""}, "image", "must be an image's name"),
        ({"image": "-v /:/host busybox"}, "image", "must be an image's name"),
        ({"env": {"ORCHESTRATOR_ATTEMPT": "1"}}, "env.ORCHESTRATOR_ATTEMPT", "is one of our own"),
        ({"user": 0}, "user", "greater than or equal to 1"),
        ({"user": "${input.user}"}, "user", "must be a whole number"),
        ({"serviceAccount": "${input.account}"}, "serviceAccount", "and no expression"),
        ({"command": "${input.command}"}, "command", "must be a list"),
        ({"token": True}, "", "token needs a serviceAccount"),
        ({"volumes": [{"name": "v", "mountPath": "/v", "hostPath": "/"}]}, "volumes[0].hostPath", "no field"),
        ({"volumes": [{"name": "v", "mountPath": "/v"}]}, "volumes[0]", "exactly one of emptyDir"),
        ({"volumes": [{"name": "v", "mountPath": "/../etc", "claim": "c"}]}, "volumes[0].mountPath", "absolute path"),
        ({"volumes": [{"name": "v", "mountPath": "/v", "secret": "${input.s}"}]}, "volumes[0].secret", "no expression"),
        ({"volumes": [{"name": "v", "mountPath": p, "claim": "c"} for p in ("/a", "/b")]}, "", "the same name"),
        ({"result": {"path": "${input.path}"}}, "result.path", "and no expression"),
        ({"env": {"A-B": "x"}}, 'env["A-B"]', "no name of an environment variable"),
        ({"env": {"A": 5}}, "env.A", "must be text"),
        ({"env": {"A": {"secret": "${input.s}", "key": "k"}}}, "env.A.secret", "and no expression"),
        ({"resources": {"cpu": "much"}}, "resources.cpu", "must be a Kubernetes quantity"),
        ({"privileged": True}, "privileged", "is no field that exists here"),
    ],
)
def test_what_is_wrong_with_a_container_is_told_by_its_path(change: dict[str, Any], path: str, words: str) -> None:
    (problem,) = ContainerNode.check_with({**WITH, **change}, "with")
    assert problem.path == f"with.{path}".removesuffix(".")
    assert words in problem.message
