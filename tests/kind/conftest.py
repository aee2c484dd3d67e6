"""One kind cluster for the run, the product's image on it, and the product installed with kustomize.

`cluster` is bare: a namespace, `kubectl`, KUBECONFIG and the image's name. `ha` has deploy/overlays/ha in it.
ORCHESTRATOR_KIND_KEEP=1 leaves the cluster up, and the next run takes it as it is.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.kind.cluster import KindCluster, end_daemon
from orchestrator_operator.kind.install import kubectl
from orchestrator_operator.kind.product import ProductImage
from orchestrator_operator.local import ConsoleReporter

from tests.support.kind_cluster import Cluster, postgres, prometheus

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_NAME = "orchestrator-test"
_failed: list[str] = []
_cluster: Cluster | None = None


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """A cluster with the product's image on its node, and nothing installed. Says what takes long, as it goes on."""
    global _cluster  # noqa: PLW0603 - a hook has no fixtures, and must find what the Pods said
    report = ConsoleReporter()
    keep = bool(os.environ.get("ORCHESTRATOR_KIND_KEEP"))
    aloud = pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled
    with aloud():
        sys.stdout.write("\n")  # after the name of the first test
        kind = KindCluster.open(_NAME, report)
    try:
        with aloud():
            if not keep:
                kind.down()
            kind.up()
            image = ProductImage(kind.places, kind.steps).get()
            kind.load(image)
            binary = kubectl(report)
        with Cluster(kind, image, tmp_path_factory.mktemp("kind"), binary).opened() as _cluster:
            yield _cluster
            if _failed:
                kind.export_logs(Path(os.environ.get("ORCHESTRATOR_KIND_LOGS", str(_cluster.folder / "logs"))))
    finally:
        _cluster = None
        if not keep:
            kind.down()
            if end_daemon(report):
                assert str(kind.places.root) not in Path("/proc/mounts").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def ha(cluster: Cluster) -> Iterator[Cluster]:
    """Two operators and two workers on a PostgreSQL, by the commands of deploy/overlays/ha/kustomization.yaml; and the
    HTTP door.
    """
    gateway = cluster.kind.gateway()
    with postgres(gateway) as (cluster.database, url), prometheus(cluster, gateway) as cluster.prometheus_url:
        cluster.kubectl("create", "namespace", cluster.namespace)
        cluster.secret("orchestrator-database", url=url)
        cluster.secret("orchestrator-door-tokens", tests=secrets.token_hex(32))
        cluster.settings(
            prometheus=cluster.prometheus_url,
            http_allow=f"shop.{cluster.namespace}.svc.cluster.local:8080",
            lease="3s",
        )
        cluster.kubectl("apply", "-k", cluster.overlay("ha", "door"))
        cluster.until_rolled_out("orchestrator-operator", "orchestrator-worker")
        yield cluster


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    """What the Pods said last, beside what the test says."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and _cluster is not None:
        _failed.append(report.nodeid)
        for component in ("operator", "worker"):
            chosen = f"--selector=app.kubernetes.io/component={component}"
            said = _cluster.ask("logs", chosen, "--prefix", "--tail=40", "--all-containers")
            report.sections.append((f"the {component}s", said.out + said.error))
        said = _cluster.ask("get", "pods,events", "--all-namespaces", "--sort-by=.metadata.creationTimestamp")
        report.sections.append(("pods and events", said.out[-6000:]))
