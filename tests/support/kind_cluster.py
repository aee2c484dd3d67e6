"""A real cluster with real Pods: what tests/kind run on. A PostgreSQL and a Prometheus run on this machine."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import yaml
from orchestrator_operator.adapters.kubernetes import Kubernetes
from orchestrator_operator.kind.install import overlay
from orchestrator_operator.local import Toolbox, catalogue, processes
from orchestrator_operator.local.processes import Records

from tests.support.background import Background
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.postgres import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator_operator.kind.cluster import KindCluster

ROOT = Path(__file__).parents[2]
PASSWORD = "only-for-this-run"
PART_OF = "app.kubernetes.io/part-of=orchestrator"
READY = 180.0  # seconds in which a Pod of ours starts on a busy machine


@dataclass(frozen=True, slots=True)
class Said:
    """What kubectl answered."""

    code: int
    out: str
    error: str


@dataclass
class Cluster:
    """One cluster, one namespace in it, and the image of the product on its node."""

    kind: KindCluster
    image: str
    folder: Path
    binary: Path
    namespace: str = "orchestrator"
    background: Background = field(default_factory=Background)
    kubernetes: Kubernetes = field(init=False, repr=False)
    prometheus_url: str = ""
    database: str = ""  # as this machine reaches it

    @property
    def kubeconfig(self) -> Path:
        return self.kind.kubeconfig

    @property
    def plane(self) -> Any:
        """What the stream and the watcher of the other tests ask a site for."""
        urls = SimpleNamespace(prometheus_url=self.prometheus_url)
        return SimpleNamespace(background=self.background, kubernetes=self.kubernetes, cluster=urls)

    @contextmanager
    def opened(self) -> Iterator[Cluster]:
        with self.background:
            self.kubernetes = self.background.run(Kubernetes.connect(str(self.kubeconfig), agent="kind-tests"))
            try:
                yield self
            finally:
                self.background.run(self.kubernetes.aclose())

    # -- kubectl
    def kubectl(self, *arguments: str, stdin: Any = None, within: float = 180.0) -> str:
        """What kubectl prints; AssertionError with what it says when it fails. `stdin` is sent as JSON."""
        said = self.ask(*arguments, stdin=stdin, within=within)
        assert said.code == 0, f"kubectl {' '.join(arguments)} failed: {said.error or said.out}"
        return said.out

    def ask(self, *arguments: str, stdin: Any = None, within: float = 180.0) -> Said:
        """The same, where a refusal is an answer. In our namespace, unless the arguments name another."""
        return self.typed(f"--namespace={self.namespace}", *arguments, stdin=stdin, within=within)

    def typed(self, *arguments: str, stdin: Any = None, within: float = 180.0) -> Said:
        """Word for word: by a person whose kubeconfig means the namespace `default`."""
        done = subprocess.run(
            [self.binary, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=None if stdin is None else json.dumps(stdin),
            capture_output=True,
            text=True,
            check=False,
            timeout=within,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def apply(self, *documents: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": list(documents)})

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "--output=json"))
        return found

    def pods(self, component: str) -> list[dict[str, Any]]:
        """The Pods of the operators or of the workers that are not on their way out."""
        chosen = f"{PART_OF},app.kubernetes.io/component={component}"
        found = json.loads(self.kubectl("get", "pods", f"--selector={chosen}", "--output=json"))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def leader(self) -> str:
        """The Pod that holds the Lease; empty while nobody does."""
        spec = self.get("lease", "orchestrator-operator").get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        return next((name for pod in self.pods("operator") if holder.startswith(name := pod["metadata"]["name"])), "")

    def until_rolled_out(self, *deployments: str) -> None:
        for name in deployments:
            self.kubectl("rollout", "status", f"deployment/{name}", f"--timeout={READY:.0f}s", within=READY + 20)

    # -- the product
    def overlay(self, name: str, *components: str, namespace: str | None = None) -> str:
        """A kustomization of deploy/overlays/<name> with our image, as an installation would have it."""
        folder = self.folder / f"{name}-{namespace or self.namespace}"
        return str(overlay(ROOT, name, self.image, folder, namespace, components))

    def settings(self, **values: str) -> None:
        """The ConfigMap from which operators and workers read any further setting."""
        data = {f"ORCHESTRATOR_{name.upper()}": value for name, value in values.items()}
        metadata = {"name": "orchestrator-settings", "namespace": self.namespace}
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def secret(self, name: str, **values: str) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values})


@contextmanager
def postgres(gateway: str) -> Iterator[tuple[str, str]]:
    """A PostgreSQL outside of the cluster: its URL for us, and the one for Pods, who need the password."""
    with tempfile.TemporaryDirectory(prefix="orchestrator-hba-") as folder:
        rules = Path(folder) / "pg_hba.conf"
        rules.write_text("host all all 127.0.0.1/32 trust\nhost all all 0.0.0.0/0 scram-sha-256\n", encoding="ascii")
        Path(folder).chmod(0o755)
        settings = {"listen_addresses": f"127.0.0.1,{gateway}", "hba_file": str(rules)}
        with LocalPostgres(settings=settings) as server:
            with psycopg.connect(_libpq(server.url()), autocommit=True) as connection:
                connection.execute(f"ALTER ROLE postgres PASSWORD '{PASSWORD}'".encode())
            url = server.create_database()
            inside = url.replace("postgres@127.0.0.1", f"postgres:{PASSWORD}@{gateway}")
            yield _libpq(url), _libpq(inside)


def _libpq(url: str) -> str:
    return url.replace("postgresql+psycopg", "postgresql")


@contextmanager
def prometheus(cluster: Cluster, gateway: str) -> Iterator[str]:
    """A Prometheus outside of the cluster that scrapes our Pods through the API server; Pods reach it at its URL."""
    with ExitStack() as stack:
        folder = cluster.folder / "prometheus"
        folder.mkdir()
        url = f"http://{gateway}:{free_port()}"
        scraper = _Scraper(cluster, folder, url)
        scraper.write([])
        binary = Toolbox().get([tool for tool in catalogue.load() if tool.name == "prometheus"])["prometheus"].path
        command = [str(binary), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        command += [f"--web.listen-address={url.removeprefix('http://')}", "--web.enable-lifecycle"]
        records = Records(folder / "run")
        process = processes.start("prometheus", command, records=records, log=folder / "log", detached=False)
        stack.callback(processes.stop, process, 5)
        eventually(scraper.ready, "a Prometheus that is ready")
        stack.enter_context(scraper.following())
        yield url


@dataclass
class _Scraper:
    cluster: Cluster
    folder: Path
    url: str
    stop: threading.Event = field(default_factory=threading.Event)

    def ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        return False

    @contextmanager
    def following(self) -> Iterator[None]:
        """Pods come and go: what is scraped follows."""
        thread = threading.Thread(target=self._follow, name="scrapes", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.stop.set()
            thread.join()

    def _follow(self) -> None:
        known: list[tuple[str, str]] = []
        while not self.stop.wait(0.5):
            with suppress(AssertionError, httpx.HTTPError, subprocess.SubprocessError):
                pods = [
                    (pod["metadata"]["name"], component)
                    for component in ("operator", "worker")
                    for pod in self.cluster.pods(component)
                ]
                if pods != known:
                    self.write(pods)
                    httpx.post(f"{self.url}/-/reload", trust_env=False).raise_for_status()
                    known = pods

    def write(self, pods: Sequence[tuple[str, str]]) -> None:
        config = yaml.safe_load(self.cluster.kubeconfig.read_text(encoding="utf-8"))
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        files = {"ca": server["certificate-authority-data"], "cert": user["client-certificate-data"]}
        for name, data in (files | {"key": user["client-key-data"]}).items():
            (self.folder / name).write_bytes(base64.b64decode(data))
        pods_path = f"/api/v1/namespaces/{self.cluster.namespace}/pods"
        jobs = [
            {
                "job_name": component,
                "scheme": "https",
                "tls_config": {f"{name}_file": str(self.folder / name) for name in ("ca", "cert", "key")},
                "static_configs": [
                    {
                        "targets": [server["server"].removeprefix("https://")],
                        "labels": {
                            "__metrics_path__": f"{pods_path}/{pod}:9464/proxy/metrics",
                            "namespace": self.cluster.namespace,
                            "pod": pod,
                        },
                    }
                    for pod, its in pods
                    if its == component
                ],
            }
            for component in ("operator", "worker")
        ]
        document = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
