"""Rollouts outside of the operator's namespace."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrator_operator.handlers.announce import Announcer
from orchestrator_operator.rollout.elsewhere import OwnRollouts
from orchestrator_operator.specs import ROLLOUTS

from tests.support.cluster import NAMESPACE, Operator


class Told:
    """What was passed on."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.deleted: list[str] = []

    async def handle(self, body: Any) -> None:
        self.handled.append(body["metadata"]["name"])

    async def gone(self, body: Any) -> None:
        self.deleted.append(body["metadata"]["name"])


@pytest.fixture
def told() -> Told:
    return Told()


def rollouts(operator: Operator, told: Told, own: str) -> OwnRollouts:
    return OwnRollouts(told, operator.api, Announcer(operator.api, operator.clock), own)


async def made(operator: Operator) -> dict[str, Any]:
    return await operator.kubernetes.create(ROLLOUTS, NAMESPACE, {"metadata": {"name": "v2"}, "spec": {}})


async def test_one_of_the_own_namespace_is_passed_on(operator: Operator, told: Told) -> None:
    body = await made(operator)
    own = rollouts(operator, told, NAMESPACE)
    await own.handle(body)
    await own.gone(body)
    assert (told.handled, told.deleted) == (["v2"], ["v2"])


async def test_another_one_is_told_once_where_the_flag_is(operator: Operator, told: Told) -> None:
    elsewhere = rollouts(operator, told, "orchestrator")
    await elsewhere.handle(await made(operator))
    answered = await operator.kubernetes.get(ROLLOUTS, NAMESPACE, "v2")
    assert answered["status"]["reason"] == "WrongNamespace"
    assert "namespace orchestrator" in answered["status"]["message"]
    writes = len(operator.kubernetes.calls)
    await elsewhere.handle(answered)
    await elsewhere.gone(answered)
    assert (told.handled, told.deleted, len(operator.kubernetes.calls)) == ([], [], writes)


async def test_one_that_an_operator_of_its_namespace_has_answered_is_left_alone(operator: Operator, told: Told) -> None:
    body = await made(operator)
    body = await operator.kubernetes.patch_status(ROLLOUTS, NAMESPACE, "v2", {"phase": "Progressing"})
    await rollouts(operator, told, "orchestrator").handle(body)
    assert (await operator.kubernetes.get(ROLLOUTS, NAMESPACE, "v2"))["status"] == {"phase": "Progressing"}
