"""Everything that the demo runs on, in one folder: the control plane with Prometheus, the shop, operator and worker."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from orchestrator_operator.adapters.kubernetes import Kubernetes
from orchestrator_operator.demo import services
from orchestrator_operator.demo.grafana import Grafana
from orchestrator_operator.demo.services import HOST, NAMESPACE, SERVICE_ACCOUNT, Ports
from orchestrator_operator.local import LocalCluster, LocalError, cache_root
from orchestrator_operator.local.processes import Records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.local import Found, Reporter

GENERATED = Path("dashboards", "generated")

_SCRAPE = timedelta(seconds=1)

# What the operator must not be able to do, each as `kubectl auth can-i` asks it.
_FORBIDDEN = {
    "read other Secrets": ("get", "secret/somebody-elses"),
    "list Secrets": ("list", "secrets"),
    "create pods": ("create", "pods"),
    "change Workflows": ("update", "workflows.orchestrator.dev"),
}


class Stack:
    """The processes of one demo. `start` before anything else; `stop` or `keep` in the end."""

    def __init__(self, folder: Path, report: Reporter) -> None:
        self.folder = folder
        self.namespace = NAMESPACE
        self.logs = folder / "logs"
        self.store, self.ledger = folder / "store.db", folder / "ledger.db"
        self._report = report
        self._records = Records(folder / "run")
        self._ports = Ports(0, 0, 0)
        self._kubernetes: Kubernetes | None = None
        self.cluster = LocalCluster(folder / "cluster", report=report)
        self.grafana = Grafana(folder / "grafana", checkout() / GENERATED, report)
        self.grafana_url = ""  # once it was started

    @property
    def kubernetes(self) -> Kubernetes:
        """The administrator's client."""
        if self._kubernetes is None:
            raise LocalError("the stack has not been started")
        return self._kubernetes

    @property
    def shop(self) -> str:
        return f"http://{HOST}:{self._ports.shop}"

    def addresses(self) -> dict[str, str]:
        """What a person may want to open or to run."""
        grafana = {"grafana": self.grafana_url} if self.grafana_url else {}
        return grafana | {
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "ORCHESTRATOR_NAMESPACE": NAMESPACE,
            "ORCHESTRATOR_DATABASE": f"sqlite:///{self.store}",
            "kubectl": f"{self.cluster.kubectl} --namespace={NAMESPACE}",
            "kubernetes": self.cluster.api_url,
            "prometheus": self.cluster.prometheus_url,
            "operator metrics": f"http://{HOST}:{self._ports.operator}/metrics",
            "worker metrics": f"http://{HOST}:{self._ports.worker}/metrics",
            "shop's ledger": f"{self.shop}/ledger",
        }

    async def start(self, binaries: Mapping[str, Found], *, detached: bool, grafana: bool = False) -> None:
        """From nothing to a stack that answers. Detached, it lives on when this process ends."""
        await asyncio.to_thread(self.clear)
        self.folder.mkdir(parents=True, mode=0o700)
        self._ports = Ports.choose()
        await asyncio.to_thread(
            self.cluster.up,
            binaries,
            detached=detached,
            targets=services.targets(self._ports, NAMESPACE),
            interval=_SCRAPE,
        )
        rules = (checkout() / GENERATED / "alerts.yaml").read_text(encoding="utf-8")
        await asyncio.to_thread(self.cluster.set_rules, rules)
        if grafana:
            self.grafana_url = await asyncio.to_thread(self.grafana.start, self.cluster.prometheus_url)
        self._kubernetes = await Kubernetes.connect(str(self.cluster.kubeconfig))
        await self._apply_base()
        account = self.cluster.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT)
        for service in services.services(
            self.folder, self._ports, kubeconfig=account, prometheus=self.cluster.prometheus_url
        ):
            with self._report.task(f"starting the {service.name}"):
                await services.start(service, records=self._records, logs=self.logs, detached=detached)

    async def _apply_base(self) -> None:
        await self.kubectl("apply", "-f", str(checkout() / "crds"))
        await self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(checkout() / "crds"))
        await self.kubectl("apply", "-k", str(checkout() / "deploy" / "base"))

    async def close(self) -> None:
        """Let go of the connections; the processes go on."""
        if self._kubernetes is not None:
            await self._kubernetes.aclose()
            self._kubernetes = None

    def stop(self) -> bool:
        """End every process, and return when they are gone; says whether there was one. Logs and databases stay."""
        ran = services.stop_all(self._records)
        ran = self.grafana.stop() or ran
        return self.cluster.down() or ran

    def clear(self) -> None:
        """End what an earlier demo left, and remove its folder."""
        if not self.folder.exists():
            return
        if self.stop():
            self._report.note("an earlier demo was still up: it has been ended")
        self.cluster.purge()
        shutil.rmtree(self.folder)

    # -- verbs of the story
    async def apply(self, *samples: str) -> str:
        """`kubectl apply` of files in deploy/samples; returns what kubectl says."""
        folder = checkout() / "deploy" / "samples"
        return await self.kubectl("apply", *(word for sample in samples for word in ("-f", str(folder / sample))))

    async def kubectl(self, *arguments: str) -> str:
        """Run the real kubectl as the administrator, in the demo's namespace; LocalError with what it says."""
        code, out, error = await self._kubectl(*arguments)
        if code:
            raise LocalError(f"kubectl {' '.join(arguments)} failed: {error.strip() or out.strip()}")
        return out.rstrip()

    async def newest(self, shown: int, skipped: int = 0) -> str:
        """What a person sees who asks kubectl for the newest Executions, without the `skipped` very newest ones."""
        command = ("get", "executions", "--sort-by=.metadata.creationTimestamp")
        pipe = f"tail -{shown + skipped} | head -{shown}" if skipped else f"tail -{shown}"
        return f"$ kubectl {' '.join(command)} | {pipe}\n{newest_of(await self.kubectl(*command), shown, skipped)}"

    async def forbidden(self) -> Mapping[str, bool]:
        """What the operator's account must not do, and whether the API server would let it."""
        user = f"--as=system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
        answers = {what: await self._kubectl("auth", "can-i", *ask, user) for what, ask in _FORBIDDEN.items()}
        return {what: out.strip() != "no" for what, (_, out, _) in answers.items()}

    async def set_faults(self, share: float) -> None:
        """Make the shop refuse that share of V2's requests."""
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            body = {"engine": "v2", "share": share, "status": 422}
            (await client.post(f"{self.shop}/admin/faults", content=json.dumps(body))).raise_for_status()

    async def _kubectl(self, *arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            str(self.cluster.kubectl),
            f"--kubeconfig={self.cluster.kubeconfig}",
            f"--namespace={NAMESPACE}",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, error = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, out.decode(errors="replace"), error.decode(errors="replace")


def newest_of(listing: str, shown: int, skipped: int = 0) -> str:
    """The heading of what kubectl listed, and its last lines but the `skipped` very last ones."""
    heading, *rows = listing.splitlines() or [""]
    kept = rows[: len(rows) - skipped]
    return "\n".join([heading, *kept[-shown:]])


def demo_folder() -> Path:
    """Where the demo keeps everything: one at a time on a machine and user."""
    return cache_root() / "demo"


def checkout() -> Path:
    """The project's checkout: the demo applies its CRDs, its base and its samples as a person would."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "deploy" / "samples").is_dir():
        raise LocalError(
            "the demo needs a checkout of the project (its crds/ and deploy/ folders): run `make demo` in one"
        )
    return root
