"""The tests' own PostgreSQL keeps what it promises, whichever installation it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.postgres import LocalPostgres, packaged_binaries, system_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=[system_binaries, packaged_binaries], ids=["system", "packaged"])
def server(request: pytest.FixtureRequest) -> Iterator[LocalPostgres]:
    binaries = request.param()
    if binaries is None:
        pytest.skip("this machine has no such PostgreSQL")
    with LocalPostgres(binaries) as running:
        yield running


def plain(url: str) -> str:
    return url.replace("+psycopg", "")


def count(url: str) -> int:
    with psycopg.connect(plain(url)) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def test_committed_rows_survive_a_restart_and_a_kill_and_databases_are_fresh(server: LocalPostgres) -> None:
    url = server.create_database()
    with psycopg.connect(plain(url)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 3)")
    server.restart()
    assert count(url) == 3
    server.kill()
    with pytest.raises(psycopg.OperationalError):
        count(url)
    server.start()
    assert count(url) == 3
    with pytest.raises(psycopg.errors.UndefinedTable):
        count(server.create_database())


def test_a_stopped_server_leaves_neither_process_nor_data(server: LocalPostgres) -> None:
    process, folder = server._process, server._folder
    server.stop()
    assert process is not None
    assert process.poll() is not None
    assert folder is not None
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_an_installation_that_only_root_can_read_is_used_all_the_same(tmp_path: Path) -> None:
    binaries = packaged_binaries()
    if binaries is None:
        pytest.skip("the package is not installed")
    tmp_path.chmod(0o700)
    site_packages = binaries.parents[2]
    (tmp_path / "site-packages").symlink_to(site_packages)
    with LocalPostgres(tmp_path / "site-packages" / binaries.relative_to(site_packages)) as server:
        assert server.create_database()
