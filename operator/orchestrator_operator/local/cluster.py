"""A control plane on this machine: etcd, kube-apiserver, kube-controller-manager and Prometheus, without Docker.

Synchronous on purpose: it is used by commands and by test fixtures. In a coroutine use `asyncio.to_thread`.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator_operator.local import kubeconfig, ports, record, scraping, status
from orchestrator_operator.local.commands import LOOPBACK, Layout
from orchestrator_operator.local.errors import NotUp
from orchestrator_operator.local.files import write_private
from orchestrator_operator.local.health import Health
from orchestrator_operator.local.locking import locked
from orchestrator_operator.local.parts import GRACE, REPAIR_GRACE, Parts, write_kubeconfig
from orchestrator_operator.local.progress import Reporter, Silent
from orchestrator_operator.local.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator_operator.local.scraping import Target
    from orchestrator_operator.local.sources import Found
    from orchestrator_operator.local.status import Status

DEFAULT_INTERVAL = timedelta(seconds=5)  # between two scrapes
_PATIENCE = 180.0  # seconds to wait for another command on the same control plane


class LocalCluster:
    """One control plane, whose whole state is below `folder`. Several may run at once, in folders of their own."""

    def __init__(self, folder: Path, *, report: Reporter | None = None) -> None:
        self.folder = folder.absolute()
        self._report = report or Silent()
        self._layout = Layout(self.folder)
        self._parts = Parts(self._layout, self._report)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._layout.admin_kubeconfig

    @property
    def api_url(self) -> str:
        """Where the API server is; NotUp if there never was one."""
        return f"https://{LOOPBACK}:{self._known().ports.apiserver}"

    @property
    def prometheus_url(self) -> str:
        """Where Prometheus is (or was, while it is stopped); NotUp if there never was one."""
        return f"http://{LOOPBACK}:{self._known().ports.prometheus}"

    @property
    def kubectl(self) -> Path:
        """A kubectl of the control plane's own version."""
        return Path(self._known().binaries["kubectl"])

    def log(self, part: str) -> Path:
        """The log file of a part."""
        return self._layout.log(part)

    def up(
        self,
        binaries: Mapping[str, Found],
        *,
        detached: bool = False,
        fsync: bool = True,
        targets: Iterable[Target] | None = None,
        interval: timedelta = DEFAULT_INTERVAL,
        timeout: float = 120.0,
    ) -> bool:
        """Start what does not run, and return when all is ready; says whether there was anything to start.

        Not `detached`, it dies with this process, however that ends. Without `fsync` etcd may lose data when the
        machine crashes: for tests. `targets` None keeps what was scraped before. Raises StartFailed with the reason
        and the place of the log; nothing is left running then.
        """
        with self._locked():
            known = record.read(self._layout.record)
            if known is not None and self._parts.core_ready(known):
                return self._complete(known, targets, interval, timeout)
            if self._parts.stop_all(REPAIR_GRACE):
                self._report.note("what was left of an earlier start has been stopped")
            if targets is not None or not self._layout.prometheus_config.is_file():
                self._write_targets(targets or (), interval)
            start = Record(
                ports=ports.choose(known.ports if known else None),
                binaries={name: str(found.path) for name, found in binaries.items()},
                versions={name: found.version for name, found in binaries.items()},
                detached=detached,
                fsync=fsync,
            )
            self._parts.start_all(start, timeout)
            return True

    def down(self, *, grace: float = GRACE) -> bool:
        """Stop everything, and return when it is gone; says whether there was anything to stop."""
        if not self.folder.is_dir():
            return False
        with self._locked():
            return self._parts.stop_all(grace)

    def purge(self) -> bool:
        """Stop everything and remove the folder: objects, metrics, certificates and logs. Says as `down` does."""
        stopped = self.down(grace=0)
        shutil.rmtree(self.folder, ignore_errors=True)
        return stopped

    def status(self) -> Status:
        """What runs and answers now; asks, and changes nothing."""
        known = record.read(self._layout.record)
        return status.Status(()) if known is None else status.look(self._layout, known)

    def user_kubeconfig(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate for a user, who has no rights but those that RBAC gives him.

        ValueError for a name of more than 64 characters, which a certificate cannot hold.
        """
        known, name = self._known(), kubeconfig.file_name(user)
        self._layout.pki.issue(f"user-{name}", user, groups, now=datetime.now(UTC))
        path = self.folder / "kubeconfigs" / f"{name}.kubeconfig"
        return write_kubeconfig(self._layout, known, path, f"user-{name}", user)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig that acts as a service account, in its groups."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return self.user_kubeconfig(f"system:serviceaccount:{namespace}:{name}", groups)

    def set_targets(self, targets: Iterable[Target], interval: timedelta = DEFAULT_INTERVAL) -> None:
        """Replace what is scraped, and how often: at once if Prometheus runs, else when it starts."""
        with self._locked():
            self._apply_targets(self._known(), targets, interval)

    def set_rules(self, text: str) -> None:
        """Replace the rules file that Prometheus evaluates: at once if it runs, else when it starts."""
        with self._locked():
            write_private(self._layout.prometheus_rules, text.encode())
            self._reload(self._known())

    def stop(self, part: str, *, grace: float = GRACE) -> None:
        """Stop one part alone (`prometheus`, `kube-apiserver` …); its data and its port stay."""
        with self._locked():
            self._parts.stop(part, grace)

    def start(self, part: str, *, timeout: float = 60.0) -> None:
        """Start one part again, on the same port and data; returns when it is ready."""
        with self._locked():
            if not self._parts.alive(part):
                self._parts.start(part, self._known(), timeout)

    def _known(self) -> Record:
        known = record.read(self._layout.record)
        if known is None:
            raise NotUp(f"there is no control plane in {self.folder}: start it with `orchestrator local up`")
        return known

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self.folder / "lock", timeout=_PATIENCE):
            yield

    def _complete(self, known: Record, targets: Iterable[Target] | None, interval: timedelta, timeout: float) -> bool:
        """`up` of a control plane that is up, but perhaps for Prometheus."""
        if targets is not None:
            self._apply_targets(known, targets, interval)
        if self._parts.alive("prometheus"):
            return False
        self._report.note("Prometheus was not running: it is started again")
        self._parts.start("prometheus", known, timeout)
        return True

    def _apply_targets(self, known: Record, targets: Iterable[Target], interval: timedelta) -> None:
        self._write_targets(targets, interval)
        self._reload(known)

    def _reload(self, known: Record) -> None:
        if self._parts.alive("prometheus"):
            with Health(self._layout, known.ports) as health:
                health.reload_prometheus()

    def _write_targets(self, targets: Iterable[Target], interval: timedelta) -> None:
        text = scraping.render(targets, interval, self._layout.prometheus_rules)
        write_private(self._layout.prometheus_config, text.encode())
