from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.authoring import compile_workflow
from orchestrator.errors import InvalidWorkflow
from orchestrator.model import Node, RetryPolicy
from orchestrator.nodes.container import ContainerNode, ContainerWith
from orchestrator.nodes.references import SecretRef
from orchestrator.nodes.runner import NodeRunner
from tests.support.services import failure

if TYPE_CHECKING:
    from orchestrator.nodes.base import StepContext

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
        if spec.image == "hangs":
            await asyncio.Event().wait()
        return {"exitCode": 0}

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


async def test_a_container_is_held_to_the_nodes_timeout(context: StepContext) -> None:
    async with NodeRunner(containers=Recorder()) as runner:
        hurried = dataclasses.replace(context, timeout=timedelta(milliseconds=10))
        assert (await failure(runner.run(CONTAINER, {"image": "hangs"}, hurried))).kind == "Timeout"


async def test_without_a_runtime_the_type_is_refused(context: StepContext) -> None:
    async with NodeRunner() as runner:
        error = await failure(runner.run(CONTAINER, WITH, context))
    assert (error.kind, error.retryable) == ("UnknownNodeType", False)


def test_a_workflow_is_told_that_the_type_is_not_built_yet() -> None:
    with pytest.raises(InvalidWorkflow, match="'container' is not built yet"):
        compile_workflow({"nodes": [{"id": "a", "type": "container", "with": WITH}]}, namespace="default", name="w")


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"image": ""}, "image", "at least 1 character"),
        ({"env": {"A-B": "x"}}, 'env["A-B"]', "no name of an environment variable"),
        ({"env": {"A": 5}}, "env.A", "must be text"),
        ({"env": {"A": {"secret": "${input.s}", "key": "k"}}}, "env.A.secret", "and no expression"),
        ({"resources": {"cpu": "much"}}, "resources.cpu", "must be a Kubernetes quantity"),
        ({"privileged": True}, "privileged", "is no field that exists here"),
    ],
)
def test_what_is_wrong_with_a_container_is_told_by_its_path(change: dict[str, Any], path: str, words: str) -> None:
    (problem,) = ContainerNode.check_with({**WITH, **change}, "with")
    assert problem.path == f"with.{path}"
    assert words in problem.message
