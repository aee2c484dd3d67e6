"""The operator's account: what deploy/base gives it, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
