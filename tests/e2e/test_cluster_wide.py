"""One operator for all namespaces, with the rights that deploy/cluster-wide gives it.

On a control plane of its own: it would take the executions of every other site, too.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.local import running

from tests.support.live import ROOT, ControlPlane
from tests.support.polling import eventually
from tests.support.rights import rights
from tests.support.rollout_documents import rollout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.site import Site

pytestmark = pytest.mark.e2e

OWN, OTHER = "orchestrator", "shop"
APPROVED = {"nodes": [{"id": "boss", "type": "approval"}], "output": "${input.n}"}
COPIED = {"nodes": [{"id": "copy", "type": "transform", "with": {"n": "${input.n}"}}]}


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("everywhere")
    with (
        running(folder / "cluster", fsync=False, targets=(), interval=timedelta(seconds=1)) as cluster,
        ControlPlane(cluster, folder).opened() as plane,
        plane.site(OWN, operator={"ORCHESTRATOR_SCOPE": "cluster", "ORCHESTRATOR_RESYNC_INTERVAL": "2s"}) as site,
    ):
        plane.kubectl("apply", "-f", str(ROOT / "deploy/cluster-wide/roles.yaml"))
        plane.kubectl("create", "namespace", OTHER)
        site.start("operator", "worker")
        yield site


def apply(site: Site, namespace: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    meta = {"name": name, "namespace": namespace}
    site.plane.kubectl(
        "apply",
        "-f",
        "-",
        stdin={"apiVersion": "orchestrator.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec},
    )


def told(site: Site, namespace: str, kind: str, name: str, path: str) -> str:
    said = site.plane.ask("get", kind, name, f"--namespace={namespace}", f"--output=jsonpath={{{path}}}")
    return said.out


@pytest.mark.parametrize("namespace", [OWN, OTHER])
def test_an_execution_of_any_namespace_runs(everywhere: Site, namespace: str) -> None:
    apply(everywhere, namespace, "Workflow", "copied", COPIED)
    apply(everywhere, namespace, "Execution", "one", {"workflow": "copied", "input": {"n": 4}})
    eventually(lambda: told(everywhere, namespace, "oex", "one", ".status.phase") == "Success", f"one in {namespace}")
    (row,) = everywhere.query(f"SELECT workflow_id FROM workflow_executions WHERE workflow_id LIKE '{namespace}/%'")
    assert row["workflow_id"] == f"{namespace}/copied"


def test_two_workflows_of_one_name_are_each_namespaces_own(everywhere: Site) -> None:
    for namespace in (OWN, OTHER):
        spec = {"nodes": [{"id": "say", "type": "transform", "with": {"of": namespace}}]}
        apply(everywhere, namespace, "Workflow", "same", spec | {"output": "${nodes.say.output.of}"})
        apply(everywhere, namespace, "Execution", "same", {"workflow": "same"})
    for namespace in (OWN, OTHER):
        eventually(lambda at=namespace: told(everywhere, at, "oex", "same", ".status.output"), f"output in {namespace}")
        assert told(everywhere, namespace, "oex", "same", ".status.output") == namespace


def test_an_execution_whose_resource_is_deleted_elsewhere_is_cancelled(everywhere: Site) -> None:
    apply(everywhere, OTHER, "Workflow", "approved", APPROVED)
    apply(everywhere, OTHER, "Execution", "patient", {"workflow": "approved", "engine": "v2", "input": {"n": 1}})
    eventually(lambda: told(everywhere, OTHER, "oex", "patient", ".status.phase") == "Waiting", "one that waits")
    everywhere.plane.kubectl("delete", "oex", "patient", f"--namespace={OTHER}")
    eventually(
        lambda: (
            everywhere.query("SELECT status FROM workflow_executions WHERE name = 'patient'")
            == [{"status": "cancelled"}]
        ),
        "its cancellation",
    )


def test_a_rollout_elsewhere_is_told_that_it_steers_nothing(everywhere: Site) -> None:
    foreign = rollout("mine", (5, "1h"), (100, "1h"))
    apply(everywhere, OTHER, "EngineRollout", "mine", foreign["spec"])
    eventually(
        lambda: told(everywhere, OTHER, "ero", "mine", ".status.reason") == "WrongNamespace", "the rollout's answer"
    )
    assert OWN in told(everywhere, OTHER, "ero", "mine", ".status.message")
    assert everywhere.flag() == {}
    everywhere.plane.kubectl("delete", "ero", "mine", f"--namespace={OTHER}", "--timeout=30s")


def test_the_list_of_what_it_may_in_another_namespace_is_exactly_what_it_needs(everywhere: Site) -> None:
    """No Secret, no Job, and it makes no Execution."""
    assert rights(everywhere.plane, OTHER, everywhere.account) == {
        ("workflows.orchestrator.dev", "", "get list watch"),
        ("executions.orchestrator.dev", "", "delete get list patch watch"),
        ("enginerollouts.orchestrator.dev", "", "get list watch"),
        ("workflows.orchestrator.dev/status", "", "patch"),
        ("executions.orchestrator.dev/status", "", "patch"),
        ("enginerollouts.orchestrator.dev/status", "", "patch"),
        ("events", "", "create"),
    }


def test_the_documented_uninstall_leaves_nothing_behind(everywhere: Site) -> None:
    """Word for word, in the middle of a rollout, whose finalizer must be heard before the operator's rights go."""
    plane = everywhere.plane
    plane.kubectl("apply", "-k", str(ROOT / "deploy/overlays/cluster-wide"))  # its Pods find no node here
    apply(everywhere, OWN, "EngineRollout", "going-on", rollout("going-on", (5, "1h"), (100, "1h"))["spec"])
    everywhere.until_status("EngineRollout", "going-on", lambda status: status.get("phase") == "Progressing", "a stage")
    guide = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    command = next(line for line in guide.splitlines() if line.startswith("kubectl delete enginerollouts"))
    for part in command.split(" && "):
        words = part.replace("deploy/overlays/ha", str(ROOT / "deploy/overlays/cluster-wide")).split()
        plane.kubectl(*words[1:])
    assert "NotFound" in plane.ask("get", "namespace", OWN).error
    assert "orchestrator" not in plane.kubectl("get", "customresourcedefinitions,clusterroles", "--output=name")
