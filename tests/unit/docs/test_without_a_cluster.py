"""Pages whose commands need no cluster keep their word: they are typed, with a real PostgreSQL where they want one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.forking import loaded
from tests.support.pages import ROOT, blocks, typed_by
from tests.support.ports import free_port
from tests.support.postgres import plain_url
from tests.support.reading import missing, read_along

if TYPE_CHECKING:
    from tests.support.pages import Block
    from tests.support.postgres import LocalPostgres
    from tests.support.reading import Reading

PAGES = (
    "dashboards/README.md",
    "docs/coming-from.md",
    "docs/from-supabase.md",
    "docs/rollout-evidence.md",
    "docs/tracing.md",
)
TYPED = {page: typed_by(__name__, blocks(ROOT / page)) for page in PAGES}
WITHIN = 120  # seconds a page
SHORTER = {"--runs 400": "--runs 2"}  # what a reader takes the time for


def instead(script: str, port: int) -> str:
    """A script with a free port for its server, and less of what takes minutes."""
    for long, short in {"9000": str(port), **SHORTER}.items():
        script = script.replace(long, short)
    return script


@pytest.fixture(scope="module")
def urls(postgres: LocalPostgres) -> dict[str, str]:
    """A project's database with a table of a name of ours, and the login that the page makes."""
    url = plain_url(postgres.create_database())
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE workflow_executions (id uuid PRIMARY KEY, status text)")
    return {"ADMIN_DATABASE": url, "ORCHESTRATOR_DATABASE": url.replace("//postgres@", "//orchestrator@")}


@pytest.fixture(scope="module")
def readings(
    request: pytest.FixtureRequest, postgres: LocalPostgres, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Reading]:
    found: dict[str, Reading] = {}
    port = free_port()
    with loaded(tmp_path_factory.mktemp("program")) as program:
        for page in PAGES:
            own = request.getfixturevalue("urls") if "supabase" in page else {}
            scripts = [instead(block.text, port) for block, _ in TYPED[page]]
            folder, path = tmp_path_factory.mktemp("page"), [str(postgres.binaries)]
            found[page] = read_along(scripts, folder, own, within=WITHIN, path=path, program=program)
    return found


@pytest.mark.parametrize(
    ("page", "number", "block", "wanted"),
    [(page, number, *shown) for page in PAGES for number, shown in enumerate(TYPED[page])],
    ids=[block.place for page in PAGES for block, _ in TYPED[page]],
)
def test_a_block_does_what_its_page_says(
    readings: dict[str, Reading], page: str, number: int, block: Block, wanted: str
) -> None:
    assert missing(wanted, readings[page].of(number, block)) == []
