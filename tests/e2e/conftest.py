"""One control plane for the whole run; the processes' logs in the report of a test that failed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.demo.services import tail
from orchestrator_operator.local import running

from tests.support.live import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.support.site import Site

_LINES = 30  # of each log
_told: set[tuple[str, str]] = set()  # logs are told once for each site and module: a story's claims fail together
_plane: ControlPlane | None = None


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, kube-apiserver, kube-controller-manager and Prometheus with our CRDs; started once."""
    global _plane  # noqa: PLW0603 - a hook has no fixtures, and must find the logs
    folder = tmp_path_factory.mktemp("live")
    with running(folder / "cluster", fsync=False, targets=(), interval=timedelta(seconds=1)) as cluster:
        with ControlPlane(cluster, folder).opened() as _plane:
            yield _plane
        _plane = None


@pytest.fixture(scope="session")
def shared_site(control_plane: ControlPlane) -> Iterator[Site]:
    """A site for tests that leave nothing behind that others could stumble over: all three processes run."""
    with control_plane.site("shared") as site:
        site.start()
        yield site


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    """What the processes said last, beside what the test says."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and _plane is not None:
        module = report.nodeid.partition("::")[0]
        for site in _plane.sites.values():
            if (site.namespace, module) in _told:
                continue
            _told.add((site.namespace, module))
            for log in sorted(site.logs.glob("*.log")):
                report.sections.append((f"{site.namespace}: the end of {log.name}", tail(log, _LINES)))
