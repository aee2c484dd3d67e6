"""Every command that a page shows is typed by a test, or has its reason here; what stands in sentences exists."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator import settings as operator_settings
from typer.main import get_command

from orchestrator import settings as engine_settings
from orchestrator.cli.main import app
from orchestrator.engines.v1_http import settings as v1_settings
from tests.support.pages import ROOT, SHELL, blocks, pages, prose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.pages import Block

#: By the page: the test that types what it says.
READ_BY = {
    "README.md": "tests/unit/test_readme.py",
    "docs/ORCHESTRATOR_V2_ROLLOUT.md": "tests/e2e/test_guides.py",
    "docs/coming-from.md": "tests/unit/docs/test_without_a_cluster.py",
    "docs/from-supabase.md": "tests/unit/docs/test_without_a_cluster.py",
    "docs/http-door.md": "tests/unit/door/test_docs.py",
    "docs/quick-guide.md": "tests/e2e/test_guides.py",
    "docs/reports.md": "tests/unit/cli/test_reports_page.py",
    "docs/rollout-evidence.md": "tests/unit/docs/test_without_a_cluster.py",
    "docs/rollout-log.md": "tests/e2e/test_guides.py",
    "docs/rollout-report.md": "tests/e2e/test_guides.py",
    "docs/runbook.md": "tests/e2e/test_main_line.py",
    "docs/tracing.md": "tests/unit/door/test_docs.py",
}
PODS = "needs Pods, and the control plane of the tests runs none"

#: What no test types, by the page and the first line: why not.
IN_KIND = "needs Pods: tests/kind does the same on a real cluster (make kind-test)"
ELSEWHERE = {
    ("docs/from-supabase.md", "supabase secrets set USE_ORCHESTRATOR_V2=true"): "needs a hosted project and its login",
    (
        "docs/ORCHESTRATOR_V2_ROLLOUT.md",
        'orchestrator rollout abort v2 --reason "what was seen, and by whom"',
    ): "the page goes on with this rollout; the rehearsal on the same page aborts one",
    (
        "docs/reliability.md",
        "make test                     # every fault once, in small",
    ): "takes ten minutes; `make test`, which runs this, has every fault once",
    (
        "docs/testing.md",
        "ORCHESTRATOR_TEST_FAULT=append:before:3 python -m orchestrator.testing run order.yaml --database ./orders.db",
    ): "ends with exit code 86, as it should: tests/unit/testing/test_faults.py starts processes so",
    (
        "deploy/local/README.md",
        "orchestrator local up       # start in the background, print KUBECONFIG and addresses",
    ): "starts a second control plane: tests/e2e/test_local.py does so by these commands",
    (
        "docs/runbook.md",
        (
            'kubectl rollout restart deployment --namespace "$ORCHESTRATOR_NAMESPACE" '
            "--selector app.kubernetes.io/component=worker"
        ),
    ): PODS,
    (
        "docs/runbook.md",
        (
            'kubectl scale deployment --namespace "$ORCHESTRATOR_NAMESPACE" '
            "--selector app.kubernetes.io/component=worker --replicas 4"
        ),
    ): PODS,
    ("docs/install.md", "docker build -t registry.example/orchestrator:0.1.0 ."): IN_KIND,
    (
        "docs/install.md",
        "(cd deploy/overlays/single && kustomize edit set image orchestrator=registry.example/orchestrator:0.1.0)",
    ): IN_KIND,
    ("docs/install.md", "kubectl create namespace orchestrator"): IN_KIND,
    ("docs/install.md", "kubectl create configmap orchestrator-settings -n orchestrator \\"): IN_KIND,
    (
        "docs/install.md",
        "kubectl delete enginerollouts --all --timeout=120s && kubectl delete -k deploy/overlays/ha",
    ): IN_KIND,
    (
        "deploy/kind/README.md",
        "orchestrator kind up        # cluster, image of this checkout, one Pod; prints KUBECONFIG",
    ): IN_KIND,
}
MARKS = {"", "acts", "yours", "elsewhere"}
COMMAND = re.compile(r"^ {4,}(?:\$ )?(?:[A-Z_]+=\S+ )*(?:orchestrator|kubectl|make|curl|python|psql|supabase|export) ")


def shell_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks(page) if block.language == SHELL]


def named(page: Path) -> str:
    """A page's path; a translation goes by the name of its original, whose blocks it repeats."""
    return str(page.relative_to(ROOT)).replace(".pt-BR.md", ".md")


def test_every_shell_is_called_sh_and_every_mark_is_known() -> None:
    others = [b.place for page in pages() for b in blocks(page) if b.language in ("bash", "shell", "console", "zsh")]
    assert others == []
    assert {block.mark for block in shell_blocks()} <= MARKS


def test_every_page_with_commands_is_read_by_a_test() -> None:
    typed = {named(block.page) for block in shell_blocks() if block.mark in ("", "acts")}
    assert sorted(typed - READ_BY.keys()) == []


@pytest.mark.parametrize("page", [page for page in READ_BY if (ROOT / page).exists()])
def test_the_test_that_reads_a_page_speaks_of_it(page: str) -> None:
    assert (ROOT / page).stem in (ROOT / READ_BY[page]).read_text(encoding="utf-8")


def test_what_no_test_types_has_its_reason() -> None:
    found = {(named(b.page), b.text.splitlines()[0]) for b in shell_blocks() if b.mark == "elsewhere"}
    assert sorted(found - ELSEWHERE.keys()) == []
    assert sorted(key for key in ELSEWHERE.keys() - found if (ROOT / key[0]).exists()) == []


@pytest.mark.parametrize("page", pages(), ids=named)
def test_no_command_hides_in_an_indented_block(page: Path) -> None:
    assert [line for line in prose(page).splitlines() if COMMAND.match(line)] == []


# -- settings that the reader fills in


def variables() -> set[str]:
    """Every setting of ours, and what other programs call theirs."""
    names = {f"ORCHESTRATOR_{name.upper()}" for name in engine_settings.Settings.__dataclass_fields__}
    names |= {operator_settings.variable(name) for name in operator_settings.Settings.model_fields}
    names |= {f"{v1_settings.PREFIX}{name.upper()}" for name in v1_settings.V1HttpSettings.model_fields}
    return names | {"KUBECONFIG", "PROMETHEUS", "ROLLOUT", "ADMIN_DATABASE"}


@pytest.mark.parametrize("block", [b for b in shell_blocks() if b.mark == "yours"], ids=lambda block: block.place)
def test_a_setting_that_a_reader_fills_in_exists(block: Block) -> None:
    lines = block.text.splitlines()
    set_ = [re.match(r"export (\w+)=\S+$", line) for line in lines]
    assert [line for line, match in zip(lines, set_, strict=True) if match is None] == []
    assert {match[1] for match in set_ if match} <= variables()


# -- commands within sentences and tables


def inline() -> list[tuple[str, str]]:
    """Each `orchestrator …` that stands in a sentence, once."""
    spans = [(named(page), span) for page in pages() for span in re.findall(r"`([^`]+)`", prose(page))]
    found = [(page, " ".join(span.replace("\\|", "|").split())) for page, span in spans]
    return sorted({(page, span) for page, span in found if span.startswith("orchestrator ")})


def words(span: str) -> list[str]:
    """The words of a command, up to a pipe; where it is only hinted at, what there is."""
    try:
        found = shlex.split(span)
    except ValueError:  # a quote that the sentence leaves open
        found = span.split()
    return found[1 : found.index("|")] if "|" in found else found[1:]


def unknown(command: Any, typed: list[str]) -> Iterator[str]:
    """The words that the program does not know: commands by their place, options wherever they are."""
    rest = list(typed)
    while hasattr(command, "commands") and rest and not rest[0].startswith(("-", "…", "[")):
        word = rest.pop(0)
        inner = command.get_command(None, word)
        if inner is None:
            yield word
            return
        command = inner
    options = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}
    for word in rest:
        option = word.strip("[],").partition("=")[0]
        if option.startswith("-") and option not in options:
            yield option


@pytest.mark.parametrize(("page", "span"), inline())
def test_a_command_in_a_sentence_exists(page: str, span: str) -> None:
    assert list(unknown(get_command(app), words(span))) == []
