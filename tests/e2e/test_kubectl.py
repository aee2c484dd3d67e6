"""`kubectl orchestrator`: docs/kubectl.md as a reader types it, and what a person is told when something goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.forking import loaded
from tests.support.pages import ROOT, blocks, typed_by
from tests.support.reading import missing, programs, read_along
from tests.support.site import execution, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.pages import Block
    from tests.support.reading import Reading
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

TYPED = typed_by(__name__, blocks(ROOT / "docs/kubectl.md"))
GATE = workflow("gate", {"id": "door", "type": "approval", "with": {"approvers": ["ada"]}})


class Plugin:
    """The real kubectl, which finds our program as its plugin."""

    def __init__(self, site: Site, folder: Path, program: Path | None) -> None:
        self.site, self.program = site, program
        self.kubeconfig = folder / "kubeconfig"
        shutil.copy(site.plane.cluster.kubeconfig, self.kubeconfig)
        site.plane.kubectl("config", "set-context", "--current", f"--namespace={site.namespace}", user=self.kubeconfig)
        self.kubectl = str(site.plane.cluster.kubectl.parent)
        found = os.pathsep.join([str(programs(folder / "plugin", program)), self.kubectl, os.environ["PATH"]])
        self.environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": found}

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        command = ["kubectl", "orchestrator", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def __call__(self, *arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
        """Its exit code, and what it printed."""
        with self.begin(*arguments) as process:
            out, err = process.communicate(stdin, timeout=120)
        return process.returncode, out, err

    def json(self, *arguments: str) -> Any:
        code, out, err = self(*arguments, "--output", "json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture(scope="module")
def plugin(shared_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugin]:
    shared_site.apply(GATE)
    shared_site.until_condition("Workflow", "gate", "Valid", "True")
    with loaded(tmp_path_factory.mktemp("program")) as program:
        yield Plugin(shared_site, tmp_path_factory.mktemp("plugin"), program)


@pytest.fixture(scope="module")
def reading(plugin: Plugin, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    scripts = [block.text for block, _ in TYPED]
    folder, mine = tmp_path_factory.mktemp("page"), {"KUBECONFIG": str(plugin.kubeconfig)}
    return read_along(scripts, folder, mine, within=120, path=[plugin.kubectl], program=plugin.program)


@pytest.mark.parametrize(
    ("number", "block", "wanted"),
    [(number, *shown) for number, shown in enumerate(TYPED)],
    ids=[block.place for block, _ in TYPED],
)
def test_a_block_does_what_the_page_says(reading: Reading, number: int, block: Block, wanted: str) -> None:
    assert missing(wanted, reading.of(number, block)) == []


def test_an_unknown_workflow_is_answered_with_those_that_there_are(plugin: Plugin) -> None:
    code, _, err = plugin("start", "gaet")
    assert (code, "there is no Workflow 'gaet'" in err, "it has gate" in err) == (1, True, True)


def test_who_is_no_approver_is_told_and_decides_nothing(plugin: Plugin) -> None:
    started = plugin.json("start", "gate", "--engine", "v2")
    code, _, err = plugin("approve", started["name"], "--by", "eve")
    assert (code, "payload.approver" in err) == (1, True)
    answer = plugin.json("approve", started["name"], "--by", "ada")
    assert (answer["accepted"], answer["answer"]) == (True, "door approved by ada")
    plugin.site.until_phase(started["name"], "Success")


def test_two_signals_at_once_are_both_recorded(plugin: Plugin) -> None:
    site = plugin.site
    nodes = [{"id": one, "type": "signal", "with": {"name": "go"}} for one in ("first", "second")]
    site.apply(workflow("two", *nodes, output="${[nodes.first.output, nodes.second.output]}"))
    site.apply(execution("two", "two", engine="v2"))
    both = [plugin.begin("signal", "two", "go", "--payload", payload) for payload in ("1", "2")]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    for process in both:
        process.communicate()
    assert sorted(site.until_phase("two", "Success")["output"]) == [1, 2]
    assert not [key for key in site.get("Execution", "two")["metadata"].get("annotations", {}) if "signal." in key]


def test_an_interrupted_watch_leaves_the_execution_running_and_says_how_to_look_again(
    plugin: Plugin, tmp_path: Path
) -> None:
    plugin.site.apply(execution("watched", "gate", engine="v2"))
    own = Plugin(plugin.site, tmp_path, None)  # a process that gets the signal itself
    with own.begin("watch", "watched") as process:
        assert process.stdout is not None
        waits = next(line for line in process.stdout if "Waiting" in line)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert "kubectl orchestrator approve watched door" in waits
    assert (process.returncode, "kubectl orchestrator watch watched" in err) == (130, True)
    assert plugin.site.status("Execution", "watched")["phase"] == "Waiting"


def test_who_may_only_look_is_told_which_right_is_missing(plugin: Plugin) -> None:
    """The worker's account has none."""
    account = plugin.site.plane.cluster.service_account_kubeconfig(plugin.site.namespace, "orchestrator-worker")
    refused = subprocess.run(
        ["kubectl", "orchestrator", "cancel", "watched", "-n", plugin.site.namespace],
        env={**plugin.environment, "KUBECONFIG": str(account)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (refused.returncode, "forbidden" in refused.stderr.lower()) == (1, True)
