"""The local control plane itself: real etcd, API server, controller manager and Prometheus."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from orchestrator_operator.local import LocalCluster, Source, StartFailed, Target, Toolbox, running
from orchestrator_operator.local.processes import Records, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator_operator.local import Found

pytestmark = pytest.mark.e2e

SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def binaries() -> Mapping[str, Found]:
    return Toolbox().get()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, binaries: Mapping[str, Found]) -> Iterator[LocalCluster]:
    with running(tmp_path_factory.mktemp("cluster"), fsync=False) as started:
        yield started


def kubectl(cluster: LocalCluster, *arguments: str, user: Path | None = None, stdin: Any = None) -> str:
    """Run kubectl; raises with what it said."""
    command = [str(cluster.kubectl), "--kubeconfig", str(user or cluster.kubeconfig), *arguments]
    text = None if stdin is None else json.dumps(stdin)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout


def eventually(condition: Callable[[], Any], what: str, within: float = 30.0) -> Any:
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {within:.0f} s"
        time.sleep(0.1)
    return result


def query(cluster: LocalCluster, expression: str) -> list[dict[str, Any]]:
    response = httpx.get(f"{cluster.prometheus_url}/api/v1/query", params={"query": expression}, trust_env=False)
    result: list[dict[str, Any]] = response.json()["data"]["result"]
    return result


def runs(pid: int) -> bool:
    """Whether a process does anything: one that ended may stay a zombie where nobody reaps orphans."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def test_everything_is_up_and_a_second_up_changes_nothing(cluster: LocalCluster, binaries: Mapping[str, Found]) -> None:
    before = cluster.status()
    assert before.up
    assert not cluster.up(binaries)
    assert [part.pid for part in cluster.status().parts] == [part.pid for part in before.parts]


def test_a_service_account_has_the_rights_that_rbac_gives_it_and_no_more(cluster: LocalCluster) -> None:
    user = cluster.service_account_kubeconfig("default", "robot")
    assert user.stat().st_mode & 0o777 == 0o600
    with pytest.raises(AssertionError, match=r"Forbidden.*system:serviceaccount:default:robot"):
        kubectl(cluster, "get", "configmaps", user=user)
    kubectl(cluster, "create", "role", "reader", "--verb=list", "--resource=configmaps")
    kubectl(cluster, "create", "rolebinding", "robot", "--role=reader", "--serviceaccount=default:robot")
    assert "kube-root-ca.crt" in kubectl(cluster, "get", "configmaps", user=user)
    with pytest.raises(AssertionError, match="Forbidden"):
        kubectl(cluster, "get", "secrets", user=user)


def test_a_kubernetes_administrator_is_no_etcd_client(cluster: LocalCluster) -> None:
    context = ssl.create_default_context(cafile=str(cluster.folder / "pki" / "etcd-ca.crt"))
    context.load_cert_chain(cluster.folder / "pki" / "admin.crt", cluster.folder / "pki" / "admin.key")
    (etcd,) = (part for part in cluster.status().parts if part.name == "etcd")
    with httpx.Client(verify=context, trust_env=False) as client, pytest.raises(httpx.HTTPError):
        client.get(f"{etcd.address}/health")


def test_what_an_owner_leaves_is_collected(cluster: LocalCluster) -> None:
    kubectl(cluster, "create", "configmap", "owner")
    owner = json.loads(kubectl(cluster, "get", "configmap", "owner", "-o", "json"))["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "ownerReferences": [reference]}}
    kubectl(cluster, "create", "-f", "-", stdin=owned)
    kubectl(cluster, "delete", "configmap", "owner")
    kubectl(cluster, "wait", "--for=delete", "configmap/owned", "--timeout=30s")


def test_a_job_gets_its_pod(cluster: LocalCluster) -> None:
    kubectl(cluster, "create", "job", "work", "--image=example.org/nothing")
    eventually(lambda: "pod/" in kubectl(cluster, "get", "pods", "-l", "job-name=work", "-o", "name"), "the job's pod")


def test_prometheus_scrapes_new_targets_and_keeps_its_data_over_a_stop(cluster: LocalCluster) -> None:
    address = cluster.prometheus_url.removeprefix("http://")
    cluster.set_targets([Target("itself", address)], SECOND)
    eventually(lambda: query(cluster, 'up{job="itself"} == 1'), "the first scrape")
    stopped_at = time.time()
    cluster.stop("prometheus")
    assert not cluster.status().up
    with pytest.raises(httpx.ConnectError):
        query(cluster, "up")
    cluster.start("prometheus")
    assert cluster.prometheus_url.endswith(address)
    assert query(cluster, f'last_over_time(up{{job="itself"}}[5m] @ {stopped_at})')
    assert cluster.status().up


def test_up_repairs_what_a_crash_left_and_keeps_objects_and_addresses(
    cluster: LocalCluster, binaries: Mapping[str, Found]
) -> None:
    kubectl(cluster, "create", "configmap", "kept")
    api = cluster.api_url
    etcd = Records(cluster.folder / "run").read("etcd")
    assert etcd is not None
    stop(etcd, grace=0)
    assert not cluster.status().up
    assert cluster.up(binaries, fsync=False)
    assert cluster.status().up
    assert cluster.api_url == api
    assert "kept" in kubectl(cluster, "get", "configmap", "kept", "-o", "name")


def test_a_part_that_ends_at_its_start_is_named_with_its_log_and_nothing_runs_on(
    tmp_path: Path, binaries: Mapping[str, Found]
) -> None:
    broken = tmp_path / "kube-apiserver"
    broken.write_text("#!/bin/sh\necho the disk of Theseus is full\nexit 1\n")
    broken.chmod(0o755)
    cluster = LocalCluster(tmp_path / "cluster")
    chosen = dict(binaries)
    original = chosen["kube-apiserver"]
    chosen["kube-apiserver"] = type(original)(original.tool, broken, original.version, Source.ENVIRONMENT)
    with pytest.raises(StartFailed, match=r"(?s)kube-apiserver ended.*disk of Theseus"):
        cluster.up(chosen)
    assert [part.pid for part in cluster.status().parts] == [None] * 4


def test_the_commands_start_it_in_the_background_and_stop_it_without_a_trace(
    tmp_path: Path, binaries: Mapping[str, Found]
) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    for name, found in binaries.items():
        (assets / name).symlink_to(found.path)
    environ = os.environ | {"ORCHESTRATOR_CACHE": str(tmp_path / "cache"), "KUBEBUILDER_ASSETS": str(assets)}
    environ["ORCHESTRATOR_PROMETHEUS_ASSETS"] = str(assets)

    def local(*arguments: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "orchestrator_operator.cli.local", *arguments, "--output", "json"]
        done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=False, timeout=200)
        return done.returncode, json.loads(done.stdout)

    try:
        code, facts = local("up")
        assert (code, facts["started"]) == (0, True)
        assert local("up")[1]["started"] is False
        code, status = local("status")
        assert (code, status["up"]) == (0, True)
    finally:
        code, ended = local("down", "--purge")
    assert (code, ended["stopped"]) == (0, True)
    assert not [part["name"] for part in status["parts"] if runs(part["pid"])]
    assert local("status") == (3, {"name": "default", "up": False, "parts": []})
    assert not list((tmp_path / "cache" / "local").iterdir())
