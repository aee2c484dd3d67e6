"""Argo Workflows and this operator on one control plane, one after the other: the same ten steps, the same client."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.benchmarks import child
from tests.benchmarks.cluster import ours
from tests.benchmarks.cluster.argo import tool
from tests.benchmarks.cluster.meter import Meter
from tests.benchmarks.load import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.support.live import ControlPlane
    from tests.support.site import Site

COUNTS = (1, 50)
NAMESPACE = "argo"
_PATH = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/workflows"
_PATIENCE = 300.0  # seconds without any end

# How it is set. Its queue lets a workflow come up again only after so long; ten seconds is what it comes with.
VARIANTS: dict[str, Mapping[str, str]] = {
    "as it comes": {},
    "DEFAULT_REQUEUE_TIME=100ms": {"DEFAULT_REQUEUE_TIME": "100ms"},
}


def measure(tell: Callable[[str], None], counts: tuple[int, ...] = COUNTS) -> dict[str, Any]:
    """Each of the two with one execution alone, and with so many at once."""
    program, crds = tool.binary(), tool.crds()
    rows: list[dict[str, Any]] = []
    with ours.opened(ours.Loads(), tell) as run:
        plane = run.site.plane
        rows += [{"who": "ours", "set": "", **run.flood(count, f"beside-{count}")} for count in counts]
        plane.kubectl("create", "namespace", NAMESPACE)
        plane.kubectl("apply", "--server-side", "-f", str(crds))
        plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(crds))
        plane.kubectl("create", "-f", "-", stdin=_config())
        for place, (name, environ) in enumerate(VARIANTS.items()):
            with _controller(run.site, program, environ) as pids:
                beside = Meter(plane, pids)
                _load(plane, f"warm-{place}", 1, steps=1)
                for count in counts:
                    before = beside.read()
                    found = _load(plane, f"of-{count}-{place}", count)
                    rows.append({"who": "argo", "set": name, **found, **beside.since(before, count)})
                    tell(f"  Argo Workflows, {name}: {count} in {found['seconds']:.1f} s")
    return {"version": tool.tool().version, "rows": rows}


def _config() -> dict[str, Any]:
    """The controller's own settings: no port for metrics, for nobody asks."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "workflow-controller-configmap", "namespace": NAMESPACE},
        "data": {"metricsConfig": "enabled: false\n"},
    }


def _body(count: int) -> dict[str, Any]:
    """A workflow of so many steps, one after the other."""
    steps = [[{"name": f"s{number}", "template": "step"}] for number in range(count)]
    container = {"image": "none", "command": ["none"]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "spec": {
            "entrypoint": "main",
            "templates": [{"name": "main", "steps": steps}, {"name": "step", "container": container}],
        },
    }


def _load(plane: ControlPlane, prefix: str, count: int, steps: int = STEPS) -> dict[str, Any]:
    asked = {
        "kubeconfig": str(plane.cluster.kubeconfig),
        "path": _PATH,
        "body": _body(steps),
        "prefix": prefix,
        "count": count,
        "patience": _PATIENCE,
    }
    found = child.call("tests.benchmarks.cluster.client:load", asked, patience=_PATIENCE + count * 10)
    if "error" in found or found["failed"]:
        raise RuntimeError(f"Argo's workflows {prefix} did not succeed: {found}")
    return found


@contextmanager
def _controller(site: Site, program: Path, environ: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """The controller, as administrator and alone, and the node that its Pods find; their process ids by name."""
    admin = str(site.plane.cluster.kubeconfig)
    command = [str(program), "--kubeconfig", admin, "--namespace", NAMESPACE, "--namespaced"]
    command += ["--executor-image", "none", "--qps", "200", "--burst", "400", "--loglevel", "warn"]
    settings = os.environ | {"LEADER_ELECTION_DISABLE": "true"} | dict(environ)
    node = [sys.executable, "-m", "tests.benchmarks.cluster.argo.kubelet", admin, NAMESPACE]
    log = site.logs / "argo.log"
    with (
        log.open("ab") as output,
        subprocess.Popen(node, stdin=subprocess.PIPE, stderr=output) as kubelet,
        subprocess.Popen(command, env=settings, stdout=output, stderr=output) as controller,
    ):
        try:
            time.sleep(1.0)  # both have begun, or have ended and say why; the first workflow waits for the rest
            if (ended := next((one for one in (kubelet, controller) if one.poll() is not None), None)) is not None:
                raise RuntimeError(f"{ended.args} ended: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
            yield {"controller": controller.pid, "node": kubelet.pid}
        finally:
            controller.terminate()
            kubelet.terminate()
