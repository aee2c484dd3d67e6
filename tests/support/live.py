"""A real control plane, and sites on it: a namespace with its own operator, worker, shop, store and flag.

Everything is a real process; what a person does is done by the real kubectl. The operator acts as its own service
account, with the rights that deploy/base gives it.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator_operator.adapters.kubernetes import Kubernetes
from orchestrator_operator.demo.services import SERVICE_ACCOUNT

from tests.support.background import Background
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator_operator.local import LocalCluster, Target

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "deploy" / "samples"
SCRAPE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Said:
    """What kubectl answered."""

    code: int
    out: str
    error: str


class ControlPlane:
    """The API server and Prometheus of a test run, with our CRDs."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.background = Background()
        self.sites: dict[str, Site] = {}
        self.targets: list[Target] = []  # scraped beside the sites
        self.kubernetes: Kubernetes

    @contextmanager
    def opened(self) -> Iterator[ControlPlane]:
        """With the CRDs applied, until the block ends."""
        crds = str(ROOT / "crds")
        self.kubectl("apply", "-f", crds)
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", crds)
        with self.background:
            self.kubernetes = self.background.run(Kubernetes.connect(str(self.cluster.kubeconfig), agent="e2e-tests"))
            try:
                yield self
            finally:
                self.background.run(self.kubernetes.aclose())

    @contextmanager
    def site(
        self,
        name: str,
        *,
        database: str | None = None,
        operator: Mapping[str, str] | None = None,
        worker: Mapping[str, str] | None = None,
    ) -> Iterator[Site]:
        """A namespace with deploy/base in it. No process runs yet; all that were started end with the block.

        `database` is a URL (by default a SQLite file of its own); `operator` and `worker` are environment variables.
        """
        folder = self.folder / name
        folder.mkdir()
        self.kubectl("apply", "-k", str(_overlay(folder / "base", name)))
        account = self.cluster.service_account_kubeconfig(name, SERVICE_ACCOUNT)
        site = Site(self, name, folder, account, database=database, operator=operator or {}, worker=worker or {})
        self.sites[name] = site
        self.scrape()
        try:
            yield site
        finally:
            site.end()
            del self.sites[name]
            self.scrape()

    @contextmanager
    def scraping(self, *targets: Target) -> Iterator[None]:
        """Prometheus scrapes these, too, until the block ends."""
        self.targets += targets
        self.scrape()
        try:
            yield
        finally:
            self.targets = [target for target in self.targets if target not in targets]
            self.scrape()

    def kubectl(self, *arguments: str, stdin: Any = None, user: Path | None = None) -> str:
        """What kubectl prints; AssertionError with what it says when it fails. `stdin` is sent as JSON."""
        said = self.ask(*arguments, stdin=stdin, user=user)
        assert said.code == 0, f"kubectl {' '.join(arguments)} failed: {said.error or said.out}"
        return said.out

    def ask(self, *arguments: str, stdin: Any = None, user: Path | None = None) -> Said:
        """The same, where a refusal is an answer."""
        done = subprocess.run(
            [str(self.cluster.kubectl), "--kubeconfig", str(user or self.cluster.kubeconfig), *arguments],
            input=None if stdin is None else json.dumps(stdin),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def scrape(self) -> None:
        """Tell Prometheus what is there now."""
        targets: list[Target] = [target for site in self.sites.values() for target in site.targets]
        self.cluster.set_targets([*targets, *self.targets], SCRAPE)


def _overlay(folder: Path, namespace: str) -> Path:
    """A kustomization of deploy/base for another namespace, as an installation would have it."""
    folder.mkdir()
    base = os.path.relpath((ROOT / "deploy" / "base").resolve(), folder.resolve())
    (folder / "kustomization.yaml").write_text(json.dumps({"namespace": namespace, "resources": [base]}))
    return folder
