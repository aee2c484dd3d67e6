"""The guides keep their word: what they say is typed, by the real kubectl and the real program, on a real API server.

Each guide is read at a site of its own, at the same time as the other: they mostly wait. The pages of `AFTERWARDS` are
read where the long guide was, for they speak of a rollout that is there.
"""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.forking import loaded
from tests.support.pages import ROOT, blocks, typed_by
from tests.support.polling import eventually
from tests.support.postgres import plain_url
from tests.support.reading import missing, read_along

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.live import ControlPlane
    from tests.support.pages import Block
    from tests.support.postgres import LocalPostgres
    from tests.support.reading import Reading
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

GUIDES = ("docs/quick-guide.md", "docs/ORCHESTRATOR_V2_ROLLOUT.md")
AFTERWARDS = ("docs/rollout-log.md", "docs/rollout-report.md")
READ = (*GUIDES, *AFTERWARDS)
TYPED = {page: typed_by(__name__, blocks(ROOT / page)) for page in READ}
WITHIN = 240  # seconds a page
SHORTER = {"--runs 100": "--runs 2"}  # what a reader takes the time for

#: What looks, and so shows something: in each guide something has happened by then.
ASKS = re.compile(
    r"^(curl|kubectl get|orchestrator (report|executions (list|show)|rollout (status|history|verify)|flag get)) ",
    re.MULTILINE,
)

#: What the blocks marked `yours` set.
YOURS = ("KUBECONFIG", "ORCHESTRATOR_NAMESPACE", "ORCHESTRATOR_DATABASE", "PROMETHEUS")


def environment(site: Site, kubeconfig: Path) -> dict[str, str]:
    """The same, as it is at this site."""
    values = (str(kubeconfig), site.namespace, plain_url(site.database), site.plane.cluster.prometheus_url)
    return dict(zip(YOURS, values, strict=True))


def read(site: Site, page: str, folder: Path, program: Path, path: list[str]) -> Reading:
    kubeconfig = folder / "kubeconfig"
    shutil.copy(site.plane.cluster.kubeconfig, kubeconfig)
    site.plane.kubectl("config", "set-context", "--current", f"--namespace={site.namespace}", user=kubeconfig)
    scripts = [block.text for block, _ in TYPED[page]]
    for long, short in SHORTER.items():
        scripts = [script.replace(long, short) for script in scripts]
    mine = environment(site, kubeconfig)
    return read_along(scripts, folder, mine, within=WITHIN, path=path, program=program)


def scraped(site: Site) -> bool:
    """Whether Prometheus has heard of the processes, as it has of a reader's."""
    query = f'up{{job=~"operator|worker",namespace="{site.namespace}"}} == 1'
    url = f"{site.plane.cluster.prometheus_url}/api/v1/query"
    answer = httpx.get(url, params={"query": query}, trust_env=False, timeout=30).raise_for_status()
    return len(answer.json()["data"]["result"]) == 2


@pytest.fixture(scope="module")
def readings(
    control_plane: ControlPlane, postgres: LocalPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Reading]]:
    folders = {page: tmp_path_factory.mktemp("page") for page in READ}
    path = [str(control_plane.cluster.kubectl.parent), str(postgres.binaries)]
    with (
        control_plane.site("orchestrator", database=postgres.create_database()) as short,
        control_plane.site("guide", database=postgres.create_database()) as long,
        loaded(tmp_path_factory.mktemp("program")) as program,
        ThreadPoolExecutor(max_workers=2) as pool,
    ):

        def start(site: Site, page: str) -> Reading:
            site.start("operator", "worker")
            eventually(lambda: scraped(site), "both processes in Prometheus")
            return read(site, page, folders[page], program, path)

        done = {page: pool.submit(start, site, page) for page, site in zip(GUIDES, (short, long), strict=True)}
        found = {page: future.result() for page, future in done.items()}
        for page in AFTERWARDS:
            found[page] = read(long, page, folders[page], program, path)
        yield found


@pytest.mark.parametrize(
    ("page", "number", "block", "wanted"),
    [(page, number, *shown) for page in READ for number, shown in enumerate(TYPED[page])],
    ids=[block.place for page in READ for block, _ in TYPED[page]],
)
def test_a_block_does_what_its_page_says(
    readings: Mapping[str, Reading], page: str, number: int, block: Block, wanted: str
) -> None:
    printed = readings[page].of(number, block)
    assert missing(wanted, printed) == []
    assert printed.strip() or not ASKS.search(block.text)


@pytest.mark.parametrize("page", GUIDES)
def test_a_reader_sets_nothing_that_the_test_does_not(page: str) -> None:
    texts = [block.text for block in blocks(ROOT / page) if block.mark == "yours"]
    assert {name for text in texts for name in re.findall(r"^export (\w+)=", text, re.MULTILINE)} <= set(YOURS)
