"""Hostile resources on a real API server, another product's CRDs beside ours: the operator stays up, others go on."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.local.catalogue import load
from orchestrator_operator.local.places import cache_root
from orchestrator_operator.local.progress import Silent
from orchestrator_operator.local.toolchain import find_go

from tests.support.site import execution, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.site import Site

pytestmark = pytest.mark.e2e

A: dict[str, Any] = {"id": "a", "type": "transform", "with": {"x": "${input.n}"}}
LONG = ".".join(["a" * 63] * 3 + ["b" * 61])  # 253 characters, as long as a name may be
NESTED: Any = json.loads("[" * 400 + "]" * 400)


@pytest.fixture(scope="module")
def site(shared_site: Site) -> Iterator[Site]:
    """The shared site; after all this its operator and its worker must be the same processes still."""
    before = [shared_site.process(name) for name in ("operator", "worker")]
    shared_site.apply(workflow("plain", A))
    yield shared_site
    after = [shared_site.process(name) for name in ("operator", "worker")]
    assert after == before
    assert all(process.alive() for process in after)


def others_go_on(site: Site, name: str) -> None:
    """An ordinary execution beside it is done."""
    site.create(execution(name, "plain", {"n": 1}, engine="v2"))
    site.until_phase(name, "Success")


@pytest.mark.parametrize("name", [LONG, "1", "null", "true", "a.b.c", "x--y", "0x7f", "1e3", "metadata"])
def test_an_odd_name_is_a_name_like_any_other(site: Site, name: str) -> None:
    site.create(workflow(name, A), execution(name, name, {"n": 1}, engine="v2"))
    assert site.until_phase(name, "Success")["engine"] == "v2"


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "a/b", "'; DROP TABLE workflow_executions; --", "$(id)", "${input.n}", "a\nb", "x" * 300],
)
def test_a_workflow_that_is_no_name_is_refused_and_reaches_nothing(site: Site, name: str) -> None:
    site.ask("delete", "oex", "points-nowhere", "--ignore-not-found", "--timeout=60s")
    said = site.ask("create", "-f", "-", stdin=execution("points-nowhere", name, {"n": 1}))
    if said.code == 0:
        found = site.until_condition("Execution", "points-nowhere", "Accepted", "False")
        assert found["reason"] in ("WorkflowNotFound", "InvalidSpec")
    else:
        assert "spec.workflow" in said.error


def test_an_input_as_large_as_the_api_server_takes_is_done_or_refused_with_words(site: Site) -> None:
    site.create(execution("huge", "plain", {"n": 1, "much": "x" * 1_200_000}, engine="v2"))
    status = site.until_status(
        "Execution", "huge", lambda s: s.get("phase") == "Success" or any(
            one["type"] == "Accepted" and one["status"] == "False" for one in s.get("conditions", ())
        ), "huge is done or refused"
    )  # fmt: skip
    assert len(json.dumps(status)) < 10_000
    others_go_on(site, "beside-huge")


def test_a_workflow_of_thousands_of_nodes_is_judged(site: Site) -> None:
    nodes = [{"id": f"n{i}", "type": "transform", "with": {}} for i in range(4000)]
    said = site.ask("create", "-f", "-", stdin=workflow("many-nodes", *nodes))
    if said.code == 0:
        site.until_status("Workflow", "many-nodes", lambda s: s.get("conditions"), "many-nodes is judged")
    others_go_on(site, "beside-many")


def test_an_input_that_is_nested_four_hundred_deep_holds_up_nobody(site: Site) -> None:
    site.create(execution("deep", "plain", {"n": NESTED}, engine="v2"))
    site.until_status("Execution", "deep", lambda s: s.get("conditions"), "deep is judged")
    others_go_on(site, "beside-deep")


def test_a_regular_expression_that_never_ends_holds_up_nobody(site: Site) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "string", "pattern": "^(a+)+$"}}}
    site.create(workflow("redos", A, input={"schema": schema}))
    site.create(execution("redos", "redos", {"n": "a" * 5000 + "!"}, engine="v2"))
    assert site.until_condition("Execution", "redos", "Accepted", "False")["reason"] == "InvalidInput"
    others_go_on(site, "beside-redos")


def test_a_schema_of_a_few_lines_that_asks_for_everything_holds_up_nobody(site: Site) -> None:
    twice = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(50)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**twice, "d50": {"type": "object"}}}
    site.create(workflow("bomb", A, input={"schema": schema}))
    site.create(execution("bomb", "bomb", {"n": 1}, engine="v2"))
    found = site.until_condition("Execution", "bomb", "Accepted", "False")
    assert "steps" in found["message"]
    others_go_on(site, "beside-bomb")


@pytest.mark.parametrize(
    "annotations",
    [
        {"orchestrator.dev/traceparent": "00-" + "z" * 5000, "orchestrator.dev/tracestate": "=,=;" * 1000},
        {"orchestrator.dev/resume": "\n" * 1000},
        {"orchestrator.dev/unheard-of": "{" * 50_000},
        {"kubectl.kubernetes.io/last-applied-configuration": "not json"},
    ],
)
def test_a_malformed_annotation_changes_nothing(site: Site, annotations: dict[str, str]) -> None:
    name = f"annotated-{abs(hash(str(annotations))) % 10**8}"
    body = execution(name, "plain", {"n": 1}, engine="v2")
    body["metadata"]["annotations"] = annotations
    site.create(body)
    site.until_phase(name, "Success")


# -- another product's resources of the same names


@pytest.fixture(scope="module")
def argo(site: Site) -> Iterator[Path]:
    """The CRDs of Argo Workflows, out of its Go module; gone afterwards."""
    folder = cache_root() / "tests" / "argo-workflows"
    go = find_go(load()[0].module, cache_root() / "build" / "toolchain", os.environ, Silent())
    environment = os.environ | {"GOMODCACHE": str(folder), "GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local"}
    command = [str(go), "mod", "download", "-json", "github.com/argoproj/argo-workflows/v3@v3.7.3"]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=250, cwd="/")
    told = json.loads(said.stdout)
    assert told["Sum"] == "h1:b0o03RTLXIL7lQunDEvLoDTeI5TbfXe2obGaItvvifk="
    crds = Path(told["Dir"]) / "manifests" / "base" / "crds" / "minimal"
    files = [f"--filename={path}" for path in sorted(crds.glob("argoproj.io_*.yaml"))]
    site.plane.kubectl("create", *files)
    site.plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", *files)
    yield crds
    site.plane.kubectl("delete", *files, "--wait=false")


THEIRS = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": "theirs"},
    "spec": {"entrypoint": "a", "templates": [{"name": "a", "container": {"image": "busybox"}}]},
}


def test_both_products_workflows_live_side_by_side(site: Site, argo: Path) -> None:
    site.kubectl("create", "-f", "-", stdin=THEIRS)
    others_go_on(site, "beside-argo")
    assert "theirs" in site.kubectl("get", "workflows.argoproj.io", "-o", "name")
    assert "theirs" not in site.kubectl("get", "workflows.orchestrator.dev", "-o", "name")
    kept = json.loads(site.kubectl("get", "workflows.argoproj.io", "theirs", "-o", "json"))
    assert kept["spec"] == THEIRS["spec"]
    assert "status" not in kept


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("owf", "workflows.orchestrator.dev"),
        ("oex", "executions.orchestrator.dev"),
        ("ero", "enginerollouts.orchestrator.dev"),
    ],
)
def test_our_short_names_mean_ours_alone(site: Site, argo: Path, short: str, name: str) -> None:
    listed = site.kubectl("api-resources", "--no-headers", "--cached=false").splitlines()
    assert [line for line in listed if short in line.split()[1].split(",")] == [
        line for line in listed if line.split()[0] == name.partition(".")[0] and "orchestrator.dev/" in line
    ]
