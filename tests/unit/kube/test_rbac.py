"""The rights of the operator: what it needs, in its namespace, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from orchestrator_operator.adapters.endpoints import NAME

ROOT = Path(__file__).parents[3]
BASE = ROOT / "deploy" / "base"
DOCUMENTS: list[dict[str, Any]] = [
    document for file in sorted(BASE.glob("*.yaml")) for document in yaml.safe_load_all(file.read_text())
]
ROLES = [document for document in DOCUMENTS if document["kind"] in ("Role", "ClusterRole")]
RULES = [(role["metadata"]["name"], rule) for role in ROLES for rule in role["rules"]]
(OPERATOR,) = [role for role in ROLES if role["metadata"]["name"] == "orchestrator-operator"]


def may(verb: str, resource: str, group: str = "orchestrator.dev") -> bool:
    return any(
        verb in rule["verbs"] and resource in rule["resources"] and group in rule["apiGroups"]
        for rule in OPERATOR["rules"]
    )


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_no_wildcards(name: str, rule: dict[str, Any]) -> None:
    assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]], name
    assert not rule.get("nonResourceURLs")


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_secrets_by_name_and_never_listed(name: str, rule: dict[str, Any]) -> None:
    if "secrets" in rule["resources"]:
        assert rule["resourceNames"] == ["orchestrator-flags"], name
        assert sorted(rule["verbs"]) == ["get", "patch"]


def test_nothing_beyond_the_namespace() -> None:
    assert {document["kind"] for document in DOCUMENTS} == {
        "Kustomization",
        "Namespace",
        "Role",
        "RoleBinding",
        "Secret",
        "ServiceAccount",
    }


@pytest.mark.parametrize("plural", ["workflows", "executions", "enginerollouts"])
def test_it_watches_and_writes_status(plural: str) -> None:
    assert all(may(verb, plural) for verb in ("get", "list", "watch"))
    assert may("patch", f"{plural}/status")


@pytest.mark.parametrize("verb", ["create", "update", "patch", "delete"])
def test_it_makes_nothing_and_changes_no_workflow(verb: str) -> None:
    assert not may(verb, "workflows")
    assert may(verb, "executions") is (verb in ("patch", "delete"))  # annotations that were answered; the ttl
    assert may(verb, "enginerollouts") is (verb == "patch")  # its finalizer and annotations that were heard


def test_the_worker_has_no_rights_and_no_token() -> None:
    (worker,) = [
        document
        for document in DOCUMENTS
        if document["kind"] == "ServiceAccount" and document["metadata"]["name"] == "orchestrator-worker"
    ]
    assert worker["automountServiceAccountToken"] is False
    bound = [subject["name"] for found in DOCUMENTS if found["kind"] == "RoleBinding" for subject in found["subjects"]]
    assert bound == ["orchestrator-operator"]


def test_the_flag_is_empty() -> None:
    (secret,) = [document for document in DOCUMENTS if document["kind"] == "Secret"]
    assert secret["metadata"]["name"] == "orchestrator-flags"
    assert not {"data", "stringData"} & secret.keys()


def test_the_role_for_the_webhook_in_the_docs_lets_the_operator_read_that_secret_and_no_other() -> None:
    guide = (ROOT / "docs" / "rollout-controller.md").read_text(encoding="utf-8")
    section = guide.split("### The webhook's Secret\n", 1)[1]
    documents = list(yaml.safe_load_all(section.split("```yaml\n", 1)[1].split("```", 1)[0]))
    secret, role, binding = (
        next(one for one in documents if one["kind"] == kind) for kind in ("Secret", "Role", "RoleBinding")
    )
    names = [secret["metadata"]["name"]]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    account = next(document for document in DOCUMENTS if document["kind"] == "ServiceAccount")
    assert account["metadata"]["name"] in [subject["name"] for subject in binding["subjects"]]


def test_what_a_cluster_wide_operator_may_anywhere_is_what_it_may_in_its_own_namespace_without_the_flag() -> None:
    documents = yaml.safe_load_all((ROOT / "deploy/cluster-wide/roles.yaml").read_text(encoding="utf-8"))
    (wide,) = [one for one in documents if one["kind"] == "ClusterRole" and one["metadata"] == OPERATOR["metadata"]]
    own = [(group, what, verb) for group, what, verb in granted(OPERATOR) if group in ("orchestrator.dev", "")]
    left_out = {("", "secrets", "get"), ("", "secrets", "patch"), ("orchestrator.dev", "enginerollouts", "patch")}
    assert set(granted(wide)) == set(own) - left_out


def granted(role: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (group, what, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for what in rule["resources"]
        for verb in rule["verbs"]
    ]


@pytest.mark.parametrize("name", ["orchestrator-user", "orchestrator-containers"])
def test_a_cluster_role_to_be_bound_grants_what_the_role_of_that_name_does(name: str) -> None:
    roles = [
        one
        for file in ("base/roles.yaml", "containers/role.yaml", "cluster-wide/roles.yaml")
        for one in yaml.safe_load_all((ROOT / "deploy" / file).read_text(encoding="utf-8"))
        if one["metadata"]["name"] == name and "rules" in one
    ]
    assert [role["kind"] for role in roles] == ["Role", "ClusterRole"]
    assert roles[0]["rules"] == roles[1]["rules"]


def test_the_component_for_containers_gives_workers_jobs_and_no_secret() -> None:
    role, binding = yaml.safe_load_all((ROOT / "deploy" / "containers" / "role.yaml").read_text(encoding="utf-8"))
    granted = {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]}
    assert granted == {
        "jobs": ["create", "get", "list", "watch", "delete"],
        "pods": ["list", "watch"],
        "pods/log": ["get"],
        "executions": ["get"],
    }
    assert [subject["name"] for subject in binding["subjects"]] == ["orchestrator-worker"]


def test_the_component_for_the_door_lets_the_operator_make_executions_and_say_where_its_door_is() -> None:
    role, _ = yaml.safe_load_all((ROOT / "deploy" / "door" / "role.yaml").read_text(encoding="utf-8"))
    assert [(rule["resources"], rule["verbs"]) for rule in role["rules"]] == [
        (["executions"], ["create"]),
        (["endpointslices"], ["patch"]),
    ]
    assert role["rules"][1]["resourceNames"] == [f"{NAME}-ipv4", f"{NAME}-ipv6"]
