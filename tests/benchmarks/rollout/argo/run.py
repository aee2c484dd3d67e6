"""Let the real controller judge every case, and write down what it did."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from orchestrator_operator.local import LocalCluster, Target, running

from tests.benchmarks.rollout.argo import compare, tool
from tests.benchmarks.rollout.argo.cases import WINDOW, Case, all_cases
from tests.benchmarks.rollout.argo.compare import Measurement, Real
from tests.benchmarks.rollout.rivals.argo import Phase
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SCRAPE = timedelta(seconds=1)
_READY_WITHIN, _JUDGED_WITHIN = 60.0, 150.0  # seconds
_POLL = 0.5
_LEAD = WINDOW + 2  # seconds of replay before the first AnalysisRun: the window is full
_TERMINATE = json.dumps({"spec": {"terminate": True}})  # what a rollout does with its background analysis at the end
_OVER = {"Successful", "Failed", "Inconclusive", "Error"}


def run(tell: Callable[[str], None]) -> dict[str, Any]:
    """Every case, judged by both. Builds the controller on the first use."""
    cases = all_cases()
    controller, crds = tool.binary(), tool.crds()
    with tempfile.TemporaryDirectory(prefix="orchestrator-argo-") as scratch:
        folder = Path(scratch)
        with _exporter(folder, cases) as (port, begin):
            targets = [Target("bench", f"127.0.0.1:{port}")]
            with running(folder / "cluster", fsync=False, targets=targets, interval=_SCRAPE) as cluster:
                bench = _Bench(cluster, tell)
                bench.install(crds)
                with bench.controller(controller, folder / "controller.log"):
                    bench.await_scrape()
                    bench.replay(begin)
                    found = bench.judge(cases)
    rows = [compare.row(case, found[case.name]) for case in cases]
    return {"version": tool.tool().version, "at": datetime.now(UTC).isoformat(timespec="seconds"), "cases": rows}


@dataclass(slots=True)
class _Bench:
    """The control plane with the controller on it; times are seconds since the begin of the replay."""

    cluster: LocalCluster
    tell: Callable[[str], None]
    began: float = 0.0  # by the clock, for the API server's timestamps are the clock's

    def install(self, crds: Path) -> None:
        """The CRDs of the controller's own version."""
        self._kubectl("apply", "--server-side", "-f", str(crds))
        self._kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(crds))

    @contextmanager
    def controller(self, program: Path, log: Path) -> Iterator[None]:
        """The controller, as administrator and alone, until the block ends."""
        metrics, health = free_port(), free_port()
        command = [str(program), "--kubeconfig", str(self.cluster.kubeconfig), "--controllers", "analysis"]
        command += ["--leader-elect=false", "--metricsPort", str(metrics), "--healthzPort", str(health)]
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
            try:
                self._await("the controller", lambda: _answers(f"http://127.0.0.1:{health}/healthz"), process, log)
                yield
            finally:
                process.terminate()

    def await_scrape(self) -> None:
        """Until Prometheus has scraped the exporter."""
        self._await("the first scrape", lambda: self._value('up{job="bench"}') == "1")

    def replay(self, begin: Callable[[], None]) -> None:
        """Let the traces begin, and wait until the first window is full."""
        begin()
        self.began = time.time()
        self.tell("the replay has begun")
        time.sleep(_LEAD)  # what is waited for is time itself: counters that grow by the second

    def judge(self, cases: Sequence[Case]) -> dict[str, Real]:
        """What became of each case: all those without an outage at once, then the others one by one."""
        steady = [case for case in cases if case.outage is None]
        for case in steady:
            self._create(case)
        self._await_end([case.name for case in steady if not case.endless])
        for case in steady:
            if case.endless:
                self._kubectl("patch", "analysisrun", case.name, "--type=merge", "-p", _TERMINATE)
        self._await_end([case.name for case in steady])
        found = {case.name: self._read(case.name, terminated=case.endless) for case in steady}
        for case in cases:
            if case.outage is not None:
                found[case.name] = self._with_outage(case, case.outage)
        return found

    def _with_outage(self, case: Case, seconds: float) -> Real:
        self._create(case)
        self._await(f"measurements of {case.name}", lambda: len(self._measurements(case.name)) >= 2)
        down = self._now()
        self.cluster.stop_prometheus(grace=0)
        self.tell(f"{case.name}: Prometheus is down")
        time.sleep(seconds)  # the outage itself
        self.cluster.start_prometheus()
        up = self._now()
        self._await_end([case.name])
        return self._read(case.name, outage=(down, up))

    def _create(self, case: Case) -> None:
        self._kubectl("create", "-f", "-", stdin=json.dumps(case.manifest(self.cluster.prometheus_url)))

    def _await_end(self, names: Sequence[str]) -> None:
        def over() -> bool:
            return all(self._status(name).get("phase") in _OVER for name in names)

        self._await(f"the end of {', '.join(names)}", over, within=_JUDGED_WITHIN)

    def _read(self, name: str, *, outage: tuple[float, float] | None = None, terminated: bool = False) -> Real:
        status = self._status(name)
        taken = self._measurements(name)
        if not taken:
            raise RuntimeError(f"the controller took no measurement of {name}: {status.get('message', '')}")
        return Real(
            phase=Phase[status["phase"].upper()],
            began=self._since(taken[0]["startedAt"]),
            ended=self._since(status.get("completedAt") or taken[-1]["finishedAt"]),
            measurements=tuple(Measurement(Phase[one["phase"].upper()], _number(one)) for one in taken),
            message=status.get("message", ""),
            outage=outage,
            terminated=terminated,
        )

    def _status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._kubectl("get", "analysisrun", name, "-o", "json"))
        return dict(found.get("status", {}))

    def _measurements(self, name: str) -> list[dict[str, Any]]:
        results = self._status(name).get("metricResults") or [{}]
        return list(results[0].get("measurements", []))

    def _value(self, query: str) -> str | None:
        """The value of an instant query with one series; None for anything else."""
        try:
            answer = httpx.get(f"{self.cluster.prometheus_url}/api/v1/query", params={"query": query})
            return str(answer.json()["data"]["result"][0]["value"][1])
        except (httpx.HTTPError, ValueError, LookupError):
            return None

    def _kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        command = [str(self.cluster.kubectl), "--kubeconfig", str(self.cluster.kubeconfig), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)} failed: {done.stderr}")
        return done.stdout

    def _await(
        self,
        what: str,
        come: Callable[[], bool],
        process: subprocess.Popen[bytes] | None = None,
        log: Path | None = None,
        within: float = _READY_WITHIN,
    ) -> None:
        self.tell(f"waiting for {what}")
        deadline = time.monotonic() + within
        while not come():
            if (process is not None and process.poll() is not None) or time.monotonic() > deadline:
                said = "" if log is None else log.read_text(encoding="utf-8", errors="replace")[-3000:]
                raise RuntimeError(f"{what} did not come within {within:g} s\n{said}")
            time.sleep(_POLL)

    def _now(self) -> float:
        return time.time() - self.began

    def _since(self, timestamp: str) -> float:
        """Kubernetes cuts its times to whole seconds, so on average they are half a second early."""
        return datetime.fromisoformat(timestamp).timestamp() + 0.5 - self.began


@contextmanager
def _exporter(folder: Path, cases: Sequence[Case]) -> Iterator[tuple[int, Callable[[], None]]]:
    """The exporter's port, and what lets its traces begin."""
    traces = folder / "traces.json"
    traces.write_text(json.dumps({case.name: case.counts() for case in cases if case.series}), encoding="utf-8")
    command = [sys.executable, "-m", "tests.benchmarks.rollout.argo.exporter", str(traces)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        given = process.stdin

        def begin() -> None:
            given.write("begin\n")
            given.flush()

        try:
            yield int(process.stdout.readline()), begin
        finally:
            process.terminate()


def _number(measurement: dict[str, Any]) -> float | None:
    """The value of a measurement, which Argo writes as `[0.95]`; None where it is an error."""
    if measurement["phase"] == "Error":
        return None
    return float(measurement["value"].strip("[]"))


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).is_success
    except httpx.HTTPError:
        return False
