"""The manifests of an installation: what a Pod of ours is allowed, and what its labels promise to others."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from orchestrator_operator.adapters.endpoints import NAME, PORT
from orchestrator_operator.jobs.manifest import CONTAINER, MANAGED

from orchestrator.settings import Settings
from orchestrator.worker import WorkerSettings

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
FOLDERS = ("operators", "workers", "containers", "containers-single", "door", "keda", "overlays/single", "overlays/ha")


def documents(folder: str) -> list[dict[str, Any]]:
    files = sorted((DEPLOY / folder).glob("*.yaml"))
    return [one for file in files for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one]


def deployment(folder: str) -> dict[str, Any]:
    (found,) = [one for one in documents(folder) if one["kind"] == "Deployment"]
    return found


BOTH = pytest.mark.parametrize("component", ["operator", "worker"])


@BOTH
def test_a_pod_passes_pod_security_restricted(component: str) -> None:
    pod = deployment(f"{component}s")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all("hostPath" not in volume for volume in pod["volumes"])


@BOTH
def test_a_pod_is_found_by_the_monitoring(component: str) -> None:
    template = deployment(f"{component}s")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    monitor = yaml.safe_load((DEPLOY / "monitoring/podmonitor.yaml").read_text(encoding="utf-8"))
    assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports
    assert template["metadata"]["labels"]["app.kubernetes.io/component"] == component


def test_the_doors_service_leads_nowhere_but_to_whom_the_slices_name() -> None:
    """Every operator is ready, and one of them has its door open."""
    service, *slices = yaml.safe_load_all((DEPLOY / "door/service.yaml").read_text(encoding="utf-8"))
    assert "selector" not in service["spec"]
    assert (service["metadata"]["name"], service["spec"]["ports"][0]["name"]) == (NAME, PORT)
    assert [one["metadata"]["name"] for one in slices] == [f"{NAME}-ipv4", f"{NAME}-ipv6"]
    assert {one["metadata"]["labels"]["kubernetes.io/service-name"] for one in slices} == {NAME}
    assert not any({"endpoints", "ports"} & one.keys() for one in slices)  # an apply must not shut the door


def test_an_operator_with_a_door_knows_where_it_is_and_whom_it_lets_in() -> None:
    (component,) = [one for one in documents("door") if one["kind"] == "Component"]
    (patch,) = component["patches"]
    added = {one["value"]["name"]: one["value"] for one in yaml.safe_load(patch["patch"]) if "/env/" in one["path"]}
    assert added["ORCHESTRATOR_DOOR_ADDRESS"]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    (mount,) = [one["value"] for one in yaml.safe_load(patch["patch"]) if "/volumeMounts/" in one["path"]]
    assert added["ORCHESTRATOR_DOOR_TOKENS"]["value"] == mount["mountPath"]
    (container,) = deployment("operators")["spec"]["template"]["spec"]["containers"]
    listening = {port["name"]: port["containerPort"] for port in container["ports"]}[PORT]
    assert added["ORCHESTRATOR_DOOR_LISTEN"]["value"] == f"0.0.0.0:{listening}"


@BOTH
def test_liveness_asks_for_what_a_restart_mends_and_readiness_for_everything(component: str) -> None:
    (container,) = deployment(f"{component}s")["spec"]["template"]["spec"]["containers"]
    asked = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "/livez", "liveness": "/livez", "readiness": "/healthz"}


@BOTH
def test_a_pod_has_time_to_drain_and_a_bound_on_its_memory(component: str) -> None:
    pod = deployment(f"{component}s")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    most = WorkerSettings().drain + Settings().patience  # steps in flight, and then a database that does not answer
    assert pod["terminationGracePeriodSeconds"] > most.total_seconds()
    assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


@BOTH
def test_a_pod_asks_for_the_memory_that_was_measured_with_ten_thousand_resources(component: str) -> None:
    rows = json.loads((ROOT / "docs/benchmarks/cluster.json").read_text(encoding="utf-8"))["rows"]
    (row,) = [row for row in rows if row["resources"] == 10_000]
    peaks = [part["peak_mb"][component] for part in row.values() if isinstance(part, dict) and "to_end" in part]
    (container,) = deployment(f"{component}s")["spec"]["template"]["spec"]["containers"]
    asked = container["resources"]["requests"]["memory"]
    assert asked.endswith("Mi")
    assert float(asked.removesuffix("Mi")) * 1.048576 >= max(peaks)


POLICIES = pytest.mark.parametrize("component", ["operator", "worker", "container"])
CREDENTIALS = (  # where clouds give their machines' credentials away
    *("169.254.169.254", "169.254.170.2", "168.63.129.16", "192.0.0.192", "100.100.100.200"),
    *("fd00:ec2::254", "fd20:ce::254"),
)


def outward(component: str) -> list[dict[str, Any]]:
    (policy,) = [one for one in documents(f"{component}s") if one["kind"] == "NetworkPolicy"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    rules: list[dict[str, Any]] = policy["spec"]["egress"]
    return rules


@POLICIES
@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_a_network_policy_keeps_a_pod_from_the_clouds_credentials(component: str, credentials: str) -> None:
    blocks = [to["ipBlock"] for rule in outward(component) for to in rule.get("to", ())]
    address = ip_address(credentials)
    covering = [block for block in blocks if address in ip_network(block["cidr"])]
    assert covering
    assert all(any(address in ip_network(hole) for hole in block["except"]) for block in covering)


@POLICIES
def test_a_network_policy_lets_names_be_looked_up_wherever_they_are(component: str) -> None:
    """A cache of names on each node has a link-local address."""
    (names,) = [rule for rule in outward(component) if "to" not in rule]
    assert names == {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


@BOTH
def test_a_network_policy_is_about_the_pods_of_its_deployment(component: str) -> None:
    (policy,) = [one for one in documents(f"{component}s") if one["kind"] == "NetworkPolicy"]
    wanted = policy["spec"]["podSelector"]["matchLabels"]
    assert wanted.items() <= deployment(f"{component}s")["spec"]["template"]["metadata"]["labels"].items()


def test_a_network_policy_is_about_the_pods_of_container_nodes() -> None:
    (policy,) = [one for one in documents("containers") if one["kind"] == "NetworkPolicy"]
    step = {MANAGED[0]: MANAGED[1], "app.kubernetes.io/component": CONTAINER}
    assert policy["spec"]["podSelector"]["matchLabels"] == step
    assert "ingress" not in policy["spec"]


def test_the_recipe_for_secrets_mounts_one_where_a_worker_looks_for_it() -> None:
    guide = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    block = guide.split("## Secrets for HTTP nodes\n", 1)[1].split("```yaml\n", 1)[1].split("```", 1)[0]
    (patch,) = yaml.safe_load(block)["patches"]
    assert patch["target"] == {"kind": "Deployment", "name": deployment("workers")["metadata"]["name"]}
    added = {one["path"].split("/")[-2]: one["value"] for one in yaml.safe_load(patch["patch"])}
    assert added["env"]["name"] == "ORCHESTRATOR_SECRETS"
    assert added["volumes"]["name"] == added["volumeMounts"]["name"]
    place = f"{added['env']['value']}/orchestrator/{added['volumes']['secret']['secretName']}"
    assert added["volumeMounts"]["mountPath"] == place


@pytest.mark.parametrize("folder", ["workers", "overlays/ha"])
def test_a_drained_node_takes_one_pod_at_a_time(folder: str) -> None:
    (budget,) = [one for one in documents(folder) if one["kind"] == "PodDisruptionBudget"]
    assert budget["spec"]["maxUnavailable"] == 1


def test_a_drained_node_takes_any_worker_that_is_not_ready_and_no_operator_that_is_about_to_lead() -> None:
    (workers,) = [one for one in documents("workers") if one["kind"] == "PodDisruptionBudget"]
    (operators,) = [one for one in documents("overlays/ha") if one["kind"] == "PodDisruptionBudget"]
    assert workers["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert "unhealthyPodEvictionPolicy" not in operators["spec"]


def test_one_pod_on_sqlite_is_replaced_and_never_rolled() -> None:
    (patch,) = [one for one in documents("overlays/single") if one["kind"] == "Deployment"]
    assert patch["spec"]["replicas"] == 1
    assert patch["spec"]["strategy"]["type"] == "Recreate"
    (claim,) = [one for one in documents("overlays/single") if one["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


@pytest.mark.parametrize("component", ["containers", "containers-single", "door", "keda"])
def test_what_a_component_adds_is_in_the_namespace_of_what_it_is_added_to(component: str) -> None:
    """A component comes after the overlay has put everything into its namespace."""
    (added,) = [one for one in documents(component) if one["kind"] == "Component"]
    assert added["namespace"] == "orchestrator"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_secret_and_no_wildcard_stands_in_a_manifest(folder: str) -> None:
    for document in documents(folder):
        assert document["kind"] not in ("Secret", "ClusterRole", "ClusterRoleBinding")
        assert "*" not in json.dumps(document).replace("count(*)", "")


def test_the_scaler_counts_what_a_worker_would_claim() -> None:
    """The same condition as the store's own reading of its backlog."""
    (scaled,) = [one for one in documents("keda") if one["kind"] == "ScaledObject"]
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    assert query.endswith("WHERE due_at <= now() AND owner IS NULL AND finished_at IS NULL")


def test_the_crds_are_installed_with_an_overlay_and_a_folder_of_them_can_still_be_applied() -> None:
    listed = yaml.safe_load((ROOT / "crds/Kustomization").read_text(encoding="utf-8"))["resources"]
    assert sorted(listed) == sorted(path.name for path in (ROOT / "crds").glob("*.yaml"))
