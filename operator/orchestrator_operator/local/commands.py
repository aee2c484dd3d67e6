"""The command lines of the parts: pure functions of where things are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator_operator.local.certificates import Pki

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOOPBACK = "127.0.0.1"  # nothing of this listens where another machine could reach it

# What Jobs, garbage collection by owner, namespaces, service accounts and the default ClusterRoles need; the other
# thirty controllers are for nodes, volumes and certificates that a control plane without nodes has none of.
CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "ttl-after-finished-controller",
)


@dataclass(frozen=True, slots=True)
class Ports:
    """One free port for each thing that listens."""

    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    prometheus: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a control plane keeps what: everything is below one folder."""

    folder: Path

    @property
    def pki(self) -> Pki:
        """The certificates."""
        return Pki(self.folder / "pki")

    @property
    def admin_kubeconfig(self) -> Path:
        """May do everything."""
        return self.folder / "admin.kubeconfig"

    @property
    def controller_manager_kubeconfig(self) -> Path:
        """The controller manager's own identity."""
        return self.folder / "kubeconfigs" / "controller-manager.kubeconfig"

    @property
    def prometheus_config(self) -> Path:
        """What Prometheus scrapes."""
        return self.folder / "prometheus.yml"

    @property
    def prometheus_rules(self) -> Path:
        """The alerts that Prometheus evaluates, if it was given any."""
        return self.folder / "rules.yml"

    @property
    def record(self) -> Path:
        """How it was started last."""
        return self.folder / "cluster.json"

    @property
    def records(self) -> Path:
        """Which processes run."""
        return self.folder / "run"

    def log(self, name: str) -> Path:
        """The output of one part."""
        return self.folder / "logs" / f"{name}.log"

    def data(self, name: str) -> Path:
        """The data of one part."""
        return self.folder / "data" / name


def etcd(binary: str, layout: Layout, ports: Ports, *, fsync: bool) -> list[str]:
    """One etcd member; without `fsync` it may lose its data when the machine (not the process) crashes."""
    client, peer = f"https://{LOOPBACK}:{ports.etcd}", f"https://{LOOPBACK}:{ports.etcd_peer}"
    identity, authority = layout.pki.pair("etcd"), layout.pki.etcd_ca.certificate
    flags = {
        "name": "local",
        "data-dir": layout.data("etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"local={peer}",
        "cert-file": identity.certificate,
        "key-file": identity.key,
        "trusted-ca-file": authority,
        "client-cert-auth": "true",
        "peer-cert-file": identity.certificate,
        "peer-key-file": identity.key,
        "peer-trusted-ca-file": authority,
        "peer-client-cert-auth": "true",
        "log-level": "warn",
        "snapshot-count": 10000,
    }
    return [binary, *_flags(flags), *([] if fsync else ["--unsafe-no-fsync"])]


def apiserver(binary: str, layout: Layout, ports: Ports) -> list[str]:
    """The API server: TLS, RBAC, service-account tokens, the default admission plugins."""
    pki = layout.pki
    client, identity = pki.pair("etcd-client"), pki.pair("apiserver")
    return [
        binary,
        *_flags(
            {
                "etcd-servers": f"https://{LOOPBACK}:{ports.etcd}",
                "etcd-cafile": pki.etcd_ca.certificate,
                "etcd-certfile": client.certificate,
                "etcd-keyfile": client.key,
                "bind-address": LOOPBACK,
                "advertise-address": LOOPBACK,
                "secure-port": ports.apiserver,
                "tls-cert-file": identity.certificate,
                "tls-private-key-file": identity.key,
                "client-ca-file": pki.ca.certificate,
                "authorization-mode": "RBAC",
                "service-account-issuer": "https://kubernetes.default.svc",
                "service-account-key-file": pki.service_accounts,
                "service-account-signing-key-file": pki.service_accounts,
                "service-cluster-ip-range": "10.0.0.0/24",
                "endpoint-reconciler-type": "none",  # the only endpoint is loopback, which it refuses to publish
                # Twice the defaults: one busy client must not be queued because the machine is small.
                "max-requests-inflight": 800,
                "max-mutating-requests-inflight": 400,
                "profiling": "false",
            }
        ),
    ]


def controller_manager(binary: str, layout: Layout, ports: Ports) -> list[str]:
    """The controllers of CONTROLLERS, each with its own service account."""
    pki, kubeconfig = layout.pki, layout.controller_manager_kubeconfig
    identity = pki.pair("controller-manager")
    return [
        binary,
        *_flags(
            {
                "kubeconfig": kubeconfig,
                "authentication-kubeconfig": kubeconfig,
                "authorization-kubeconfig": kubeconfig,
                "bind-address": LOOPBACK,
                "secure-port": ports.controller_manager,
                "tls-cert-file": identity.certificate,
                "tls-private-key-file": identity.key,
                "client-ca-file": pki.ca.certificate,
                "root-ca-file": pki.ca.certificate,
                "service-account-private-key-file": pki.service_accounts,
                "use-service-account-credentials": "true",
                "controllers": ",".join(CONTROLLERS),
                "leader-elect": "false",
                "kube-api-qps": 200,
                "kube-api-burst": 400,
                "profiling": "false",
            }
        ),
    ]


def prometheus(binary: str, layout: Layout, ports: Ports) -> list[str]:
    """Prometheus with its lifecycle endpoint, so that new targets are a reload and not a restart."""
    return [
        binary,
        *_flags(
            {
                "config.file": layout.prometheus_config,
                "storage.tsdb.path": layout.data("prometheus"),
                "storage.tsdb.retention.time": "2d",
                "web.listen-address": f"{LOOPBACK}:{ports.prometheus}",
                "log.level": "warn",
            }
        ),
        "--web.enable-lifecycle",
    ]


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]
