"""Grafana beside the demo: the official image, with the demo's Prometheus and the dashboards in it.

It needs Docker and a registry, or the image. Where they are not, the reason and what to do instead is said before
anything is started.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import yaml

from orchestrator_operator.local.commands import LOOPBACK
from orchestrator_operator.local.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator_operator.local import Reporter

IMAGE_VARIABLE = "ORCHESTRATOR_GRAFANA_IMAGE"
IMAGE = "docker.io/grafana/grafana:11.6.0"  # what the dashboards were written for
NAME = "orchestrator-demo-grafana"
HOME = "orchestrator-rollout"  # the dashboard that one begins with

_ASK, _PULL, _READY = 20.0, 600.0, 90.0  # seconds
_INSTEAD = (
    "`make demo` without GRAFANA=1 needs no Docker; any Grafana can import dashboards/generated/*.json and read the "
    "Prometheus that `make demo KEEP=1` prints"
)


class GrafanaUnavailable(LocalError):
    """No Grafana can be started here; the message says why, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Grafana:
    """One container. `require` before anything else is set up, `start` when Prometheus is there."""

    folder: Path
    dashboards: Path  # the folder of their JSON
    report: Reporter
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def image(self) -> str:
        return self.environ.get(IMAGE_VARIABLE) or IMAGE

    def require(self) -> None:
        """Have the image here, or raise GrafanaUnavailable; pulls it the first time."""
        if shutil.which("docker", path=self.environ.get("PATH")) is None:
            raise GrafanaUnavailable(f"Grafana needs Docker, and there is no `docker` on PATH. {_INSTEAD}")
        asked = self._docker("info", "--format", "{{.ServerVersion}}", within=_ASK)
        if asked.returncode:
            raise GrafanaUnavailable(
                f"Grafana needs Docker, and its daemon does not answer: {_last(asked)}. {_INSTEAD}"
            )
        if self._docker("image", "inspect", self.image, within=_ASK).returncode == 0:
            return
        with self.report.task(f"pulling {self.image}"):
            pulled = self._docker("pull", "--quiet", self.image, within=_PULL)
        if pulled.returncode:
            raise GrafanaUnavailable(
                f"Docker cannot pull {self.image}: {_last(pulled)}. {IMAGE_VARIABLE} may name it in another registry. "
                f"{_INSTEAD}"
            )

    def start(self, prometheus: str) -> str:
        """Start it, and return its address once it answers; raises GrafanaUnavailable."""
        self.stop()
        provisioning = self._provision(prometheus)
        port = _free_port()
        settings = {
            "GF_SERVER_HTTP_ADDR": LOOPBACK,
            "GF_SERVER_HTTP_PORT": str(port),
            "GF_AUTH_ANONYMOUS_ENABLED": "true",  # on this machine's loopback, for as long as the demo lasts
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Editor",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",
            "GF_DASHBOARDS_MIN_REFRESH_INTERVAL": "1s",
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": f"/dashboards/{HOME}.json",
        }
        started = self._docker(
            *("run", "--detach", "--rm", "--name", NAME, "--network", "host", "--user", f"{os.getuid()}:0"),
            *(word for name, value in settings.items() for word in ("--env", f"{name}={value}")),
            *("--volume", f"{provisioning}:/etc/grafana/provisioning:ro"),
            *("--volume", f"{self.dashboards}:/dashboards:ro"),
            self.image,
            within=_ASK,
        )
        if started.returncode:
            raise GrafanaUnavailable(f"Grafana did not start: {_last(started)}. {_INSTEAD}")
        address = f"http://{LOOPBACK}:{port}"
        self._await(address)
        return f"{address}/d/{HOME}?from=now-15m&to=now&refresh=5s"

    def stop(self) -> bool:
        """Remove the container, if there is one; says whether there was. Without Docker there is none."""
        if not self.folder.is_dir():
            return False
        removed = self._docker("rm", "--force", NAME, within=_ASK)
        shutil.rmtree(self.folder, ignore_errors=True)
        return removed.returncode == 0

    def _provision(self, prometheus: str) -> Path:
        """The files by which Grafana knows its data source and its dashboards when it starts."""
        source = {
            "name": "Prometheus",
            "type": "prometheus",
            "uid": "prometheus",
            "access": "proxy",
            "url": prometheus,
            "isDefault": True,
            "jsonData": {"timeInterval": "1s", "httpMethod": "POST"},  # the demo scrapes once a second
        }
        provider = {
            "name": "orchestrator",
            "folder": "Orchestrator",
            "type": "file",
            "options": {"path": "/dashboards"},
        }
        for name, document in (
            ("datasources", {"apiVersion": 1, "datasources": [source]}),
            ("dashboards", {"apiVersion": 1, "providers": [provider]}),
        ):
            (self.folder / name).mkdir(parents=True)
            (self.folder / name / "orchestrator.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        return self.folder

    def _await(self, address: str) -> None:
        deadline = time.monotonic() + _READY
        with self.report.task("starting Grafana") as tick, httpx.Client(trust_env=False, timeout=2.0) as client:
            while not _healthy(client, address):
                if time.monotonic() > deadline:
                    log = self._docker("logs", "--tail", "5", NAME, within=_ASK)
                    self.stop()
                    raise GrafanaUnavailable(f"Grafana was not ready in {_READY:.0f} s: {_last(log)}. {_INSTEAD}")
                tick("waiting for its health check")
                time.sleep(0.2)

    def _docker(self, *arguments: str, within: float) -> subprocess.CompletedProcess[str]:
        command: Sequence[str] = ("docker", *arguments)
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=within,
                env=dict(self.environ),
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"no answer within {within:.0f} s")
        except OSError as error:
            return subprocess.CompletedProcess(command, 1, "", str(error))


def _healthy(client: httpx.Client, address: str) -> bool:
    try:
        return client.get(f"{address}/api/health").is_success
    except httpx.HTTPError:
        return False


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """The last thing that Docker said."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1].strip().rstrip(".?") if lines else f"exit code {done.returncode}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
