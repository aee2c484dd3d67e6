"""The image by itself: what it runs as, what it needs, and a team's own functions on top of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator.kind.product import ProductImage

if TYPE_CHECKING:
    from tests.support.kind_cluster import Cluster

pytestmark = [pytest.mark.kind, pytest.mark.timeout(900, func_only=True)]

ROOT = Path(__file__).parents[2]
_STRICT = ("--read-only", "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
_GREET = """
apiVersion: orchestrator.dev/v1alpha1
kind: Workflow
metadata: {name: hello}
spec:
  nodes:
    - {id: greet, type: python, with: {call: "shop_steps:greet", args: {name: "${input.name}"}}}
  output: {said: "${nodes.greet.output}"}
"""


def inside(cluster: Cluster, image: str, *command: str) -> str:
    return cluster.kind.steps.ask(
        ["docker", "run", "--rm", *_STRICT, f"--entrypoint={command[0]}", image, *command[1:]]
    )


def test_it_is_not_root_and_writes_nowhere_but_in_tmp(cluster: Cluster) -> None:
    assert inside(cluster, cluster.image, "id", "-u") == "65532"
    writable = inside(
        cluster, cluster.image, "find", "/opt", "/var/lib/orchestrator", "-writable", "-not", "-type", "l"
    )
    assert writable == ""


def test_it_holds_no_more_than_it_needs(cluster: Cluster) -> None:
    """600 MB uncompressed at the most: half of it numerical libraries, for the rollout's statistics."""
    size = int(cluster.kind.steps.ask(["docker", "image", "inspect", cluster.image, "--format={{.Size}}"]))
    assert size < 600e6
    assert inside(cluster, cluster.image, "find", "/opt/orchestrator", "-name", "pip") == ""


def test_its_statistics_can_be_computed(cluster: Cluster) -> None:
    """What was left out of the numerical libraries is not missed."""
    code = "import orchestrator_operator.app, scipy.stats as s; print(s.beta(2, 3).mean())"
    assert inside(cluster, cluster.image, "python3", "-c", code) == "0.4"


def test_the_recipe_for_functions_of_ones_own_runs_them(cluster: Cluster) -> None:
    name = "localhost/orchestrator-with-functions:test"
    recipe = ROOT / "deploy/image/functions/Dockerfile"
    ProductImage(cluster.kind.places, cluster.kind.steps).build_on(cluster.image, recipe, name)
    script = (
        f"cd /tmp && printf '%s' '{_GREET}' >w.yaml && orchestrator run w.yaml --input '{{\"name\": \"Ada\"}}' -o json"
    )
    said = json.loads(inside(cluster, name, "sh", "-c", script))
    assert said["output"] == {"said": "Hello, Ada"}
