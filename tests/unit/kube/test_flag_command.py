"""`orchestrator flag`: what a person types, and what stands in the Secret afterwards."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.adapters.flag import snapshot
from orchestrator_operator.adapters.kubernetes import Kubernetes
from orchestrator_operator.cli.flag import app
from orchestrator_operator.specs import ROLLOUTS
from typer.testing import CliRunner

from orchestrator.errors import InvalidInput
from orchestrator.flag import CLEAR, FlagMissing, FlagValues
from tests.support.cluster import NAMESPACE, FakeKubernetes, document

if TYPE_CHECKING:
    from typer.testing import Result

SPEC = {"stages": [{"name": "all", "percent": 100, "duration": "1h"}], "criteria": []}


class Cluster(FakeKubernetes):
    """A fake that a command may log in to, and out of."""

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
def cluster(kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(kubernetes._clock)
    made.add_secret("orchestrator-flags")

    async def connect(**_: Any) -> Cluster:
        return made

    monkeypatch.setattr(Kubernetes, "connect", connect)
    return made


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--namespace", NAMESPACE])


def stands(cluster: Cluster) -> FlagValues:
    return snapshot(cluster.objects["secrets", NAMESPACE, "orchestrator-flags"]).values


def rollout(cluster: Cluster, phase: str) -> None:
    async def make() -> None:
        await cluster.create(ROLLOUTS, NAMESPACE, document(ROLLOUTS, "v2", SPEC))
        await cluster.patch_status(ROLLOUTS, NAMESPACE, "v2", {"phase": phase})

    asyncio.run(make())


def test_nothing_set_is_v1(cluster: Cluster) -> None:
    answer = json.loads(command("get", "--output", "json").stdout)
    assert (answer["percent"], answer["reason"], answer["values"], answer["owner"]) == ("0", "FlagOff", {}, None)


def test_a_share_with_an_end(cluster: Cluster) -> None:
    result = command("set", "--percent", "12.5", "--expires", "2h", "--output", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["percent"] == "12.5"
    assert (stands(cluster).enabled, stands(cluster).percent) == ("true", "12.5")
    assert stands(cluster).expires is not None


def test_without_a_share_everything_goes_to_v2(cluster: Cluster) -> None:
    command("set", "--percent", "5")
    assert command("set").exit_code == 0
    assert stands(cluster) == FlagValues("true")


@pytest.mark.parametrize(
    "arguments",
    [("--percent", "101"), ("--percent", "a"), ("--expires", "2020-01-01T00:00:00Z"), ("--expires", "soon")],
)
def test_what_no_router_could_read_is_never_written(cluster: Cluster, arguments: tuple[str, ...]) -> None:
    assert isinstance(command("set", *arguments).exception, InvalidInput)
    assert stands(cluster) == CLEAR


@pytest.mark.parametrize("phase", ["Progressing", "Held", "RolledBack"])
def test_a_flag_that_a_rollout_owns_is_not_set_by_hand(cluster: Cluster, phase: str) -> None:
    rollout(cluster, phase)
    result = command("set", "--percent", "50")
    assert result.exit_code == 3
    assert "EngineRollout v2" in result.stderr
    assert stands(cluster) == CLEAR
    assert command("set", "--percent", "50", "--force").exit_code == 0
    assert stands(cluster).percent == "50"


def test_a_completed_rollout_leaves_the_flag_to_people(cluster: Cluster) -> None:
    rollout(cluster, "Completed")
    assert command("set", "--percent", "50").exit_code == 0


def test_unset_clears_all_three_keys_whoever_owns_them_and_may_be_repeated(cluster: Cluster) -> None:
    command("set", "--percent", "50", "--expires", "1h")
    rollout(cluster, "Progressing")
    for _ in range(2):
        assert command("unset").exit_code == 0
        assert stands(cluster) == CLEAR


def test_a_flag_that_routers_ignore_says_why(cluster: Cluster) -> None:
    command("set", "--percent", "50")
    rollout(cluster, "RolledBack")
    answer = json.loads(command("get", "--output", "json").stdout)
    assert (answer["percent"], answer["reason"]) == ("0", "FlagConflict")
    assert answer["owner"] == {"name": "v2", "phase": "RolledBack"}


def test_a_missing_secret(cluster: Cluster) -> None:
    cluster.objects.clear()
    assert "does not exist" in command("get").stdout
    assert isinstance(command("set").exception, FlagMissing)
    assert command("unset").exit_code == 0


@pytest.mark.parametrize("name", ["get", "set", "unset"])
def test_help_has_an_example(name: str) -> None:
    assert f"Example: orchestrator flag {name}" in " ".join(CliRunner().invoke(app, [name, "--help"]).stdout.split())
