"""The operator's account: what deploy/base gives it, and nothing else."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.live import ROOT
from tests.support.rights import rights

if TYPE_CHECKING:
    from tests.support.site import Site

pytestmark = pytest.mark.e2e


def test_the_operator_reads_the_flag_and_no_other_secret(shared_site: Site) -> None:
    plane, namespace = shared_site.plane, f"--namespace={shared_site.namespace}"
    shared_site.ask("create", "secret", "generic", "bank", "--from-literal=pin=1234")
    mine = plane.ask("get", "secret", "orchestrator-flags", namespace, user=shared_site.account)
    other = plane.ask("get", "secret", "bank", namespace, user=shared_site.account)
    every = plane.ask("get", "secrets", namespace, user=shared_site.account)
    assert mine.code == 0
    assert "Forbidden" in other.error
    assert "Forbidden" in every.error


def test_the_operator_has_no_rights_in_other_namespaces(shared_site: Site) -> None:
    for what in ("executions", "secrets", "pods"):
        said = shared_site.plane.ask("get", what, "--namespace=default", user=shared_site.account)
        assert "Forbidden" in said.error


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("create", "pods"),
        ("list", "secrets"),
        ("watch", "secrets"),
        ("update", "workflows.orchestrator.dev"),
        ("create", "executions.orchestrator.dev"),
        ("patch", "customresourcedefinitions"),
    ],
)
def test_the_operator_may_not(shared_site: Site, verb: str, what: str) -> None:
    namespace = f"--namespace={shared_site.namespace}"
    said = shared_site.plane.ask("auth", "can-i", verb, what, namespace, user=shared_site.account)
    assert said.out.strip() == "no"


# Line by line, what deploy/base grants.
_GRANTED = {
    ("workflows.orchestrator.dev", "", "get list watch"),
    ("executions.orchestrator.dev", "", "delete get list patch watch"),
    ("enginerollouts.orchestrator.dev", "", "get list patch watch"),
    ("workflows.orchestrator.dev/status", "", "patch"),
    ("executions.orchestrator.dev/status", "", "patch"),
    ("enginerollouts.orchestrator.dev/status", "", "patch"),
    ("events", "", "create"),
    ("leases.coordination.k8s.io", "", "create"),
    ("leases.coordination.k8s.io", "orchestrator-operator", "get patch"),
    ("secrets", "orchestrator-flags", "get patch"),
}


def test_the_list_of_what_the_operator_may_is_exactly_what_it_needs(shared_site: Site) -> None:
    assert rights(shared_site.plane, shared_site.namespace, shared_site.account) == _GRANTED


def test_the_list_of_what_a_worker_may_is_empty(shared_site: Site) -> None:
    account = shared_site.plane.cluster.service_account_kubeconfig(shared_site.namespace, "orchestrator-worker")
    assert rights(shared_site.plane, shared_site.namespace, account) == set()


@pytest.mark.parametrize(
    ("overlay", "components"),
    [("single", ["containers-single", "door"]), ("ha", ["containers", "door"]), ("cluster-wide", ["containers"])],
)
def test_the_api_server_takes_every_manifest_of_an_installation(
    shared_site: Site, overlay: str, components: list[str]
) -> None:
    """Checked against its schemas, unknown fields included; nothing is stored."""
    plane, folder = shared_site.plane, shared_site.folder / f"overlay-{overlay}"
    folder.mkdir()
    source, *added = (
        os.path.relpath((ROOT / "deploy" / name).resolve(), folder.resolve())
        for name in (f"overlays/{overlay}", *components)
    )
    text = json.dumps({"namespace": shared_site.namespace, "resources": [source], "components": added})
    (folder / "kustomization.yaml").write_text(text, encoding="utf-8")
    said = plane.ask("apply", "-k", str(folder), "--server-side", "--force-conflicts", "--dry-run=server")
    assert said.code == 0, said.error
    assert "deployment.apps/orchestrator-operator serverside-applied (server dry run)" in said.out
    assert "would violate PodSecurity" not in said.error
