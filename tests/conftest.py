"""Fixtures that several kinds of tests share."""

from __future__ import annotations

import gc
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from orchestrator.store import open_store
from tests.support.postgres import LocalPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator, Sequence

    from orchestrator.store import Store

settings.register_profile("default", deadline=None)  # a busy machine is no failure
settings.load_profile("default")

# `pytest --hypothesis-profile=chaos`: for an hour of spare time, and after a change of what many tests stand on.
settings.register_profile(
    "chaos",
    max_examples=2000,
    stateful_step_count=80,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


#: Folders whose tests run processes of their own, and among how many test processes their modules are divided. Within
#: one they go one after the other, so that they do not slow each other down, and what is started once serves them all.
_ONE_BY_ONE = {"tests/e2e": 2, "tests/machine": 1}


@cache
def _modules(folder: str) -> Sequence[str]:
    root = Path(__file__).parents[1]
    return sorted(path.relative_to(root).as_posix() for path in (root / folder).rglob("test_*.py"))


class _ByKind(LoadScopeScheduling):
    """What is handed to one test process as a whole: a module, for its tests share what it tells; or many modules."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        for folder, shares in _ONE_BY_ONE.items():
            if module.startswith(f"{folder}/"):
                return f"{folder} {_modules(folder).index(module) % shares}"
        return module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Of `make test`, which runs three test processes: on two cores, for many tests wait."""
    return _ByKind(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """A failure is told by parsing the test's source. What the collector finds meanwhile may parse source too (a task
    that nobody asked is logged with its traceback), and CPython 3.11 counts the depth of both in one number: the run
    ended in "AST constructor recursion depth mismatch", and took the names of the failed tests with it.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _no_logger_is_kept() -> Iterator[None]:
    """Commands that run in a test's own process set the logging up: that must end with the test."""
    configure = structlog.configure

    def without_keeping(**settings: Any) -> None:
        configure(**(settings | {"cache_logger_on_first_use": False}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", without_keeping)
        yield


@pytest.fixture(autouse=True)
def _logging_of_its_own() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPostgres]:
    """A real PostgreSQL, started once for the run."""
    with LocalPostgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    server: LocalPostgres = request.getfixturevalue("postgres")
    return server.create_database()


@pytest_asyncio.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """An open, migrated, empty store, of each kind in turn."""
    opened = await open_store(database)
    yield opened
    await opened.close()
