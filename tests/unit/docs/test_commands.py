"""Every command that a page shows is typed by a test, or has its reason here; what stands in sentences exists."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator import settings as operator_settings
from orchestrator_operator.specs.crds import DEFINITIONS, crd
from typer.main import get_command

from orchestrator import settings as engine_settings
from orchestrator.cli.main import app
from orchestrator.engines.v1_http import settings as v1_settings
from tests.support.pages import ROOT, SHELL, TYPED, blocks, pages, prose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.support.pages import Block

#: The tests that type what pages show; each asks for its blocks by `typed_by` when it is imported.
READERS = (
    "tests.e2e.test_guides",
    "tests.e2e.test_kubectl",
    "tests.e2e.test_main_line",
    "tests.unit.cli.test_reports_page",
    "tests.unit.docs.test_without_a_cluster",
    "tests.unit.door.test_docs",
    "tests.unit.test_readme",
)
PODS = "needs Pods, and the control plane of the tests runs none"
SECOND = "starts a second control plane: tests/e2e/test_local.py does so by these commands"
CHAOS = "takes ten minutes and more; `make test` has every fault once"
RESTORED = "tests/e2e/test_restore.py exports, deletes and applies a namespace's resources"
HOSTED = "needs a hosted project and its login"
OURS = 'deployment --namespace "$ORCHESTRATOR_NAMESPACE" --selector app.kubernetes.io'
WORKERS = f"{OURS}/component=worker"

IN_KIND = "needs Pods: tests/kind does the same on a real cluster (make kind-test)"

#: The commands of docs/install.md, which tests/kind types with another image.
INSTALLING = (
    "docker build -t registry.example/orchestrator:0.1.0 .",
    "docker push registry.example/orchestrator:0.1.0",
    "(cd deploy/overlays/single && kustomize edit set image orchestrator=registry.example/orchestrator:0.1.0)",
    "kubectl apply -k deploy/overlays/single",
    "kubectl rollout status deployment/orchestrator-operator -n orchestrator",
    "kubectl create namespace orchestrator",
    (
        "kubectl create secret generic orchestrator-database -n orchestrator "
        "--from-literal=url='postgresql://orchestrator:password@postgres.example/orchestrator'"
    ),
    "(cd deploy/overlays/ha && kustomize edit set image orchestrator=registry.example/orchestrator:0.1.0)",
    "kubectl apply -k deploy/overlays/ha",
    "kubectl rollout status deployment/orchestrator-operator deployment/orchestrator-worker -n orchestrator",
    "kubectl scale deployment/orchestrator-worker --replicas=4 -n orchestrator",
    (
        "kubectl create configmap orchestrator-settings -n orchestrator "
        "--from-literal=ORCHESTRATOR_PROMETHEUS=http://prometheus.monitoring:9090 "
        "--from-literal=ORCHESTRATOR_RETENTION=30d"
    ),
    "kubectl rollout restart deployment -l app.kubernetes.io/part-of=orchestrator -n orchestrator",
    "kubectl delete enginerollouts --all --all-namespaces --timeout=120s && kubectl delete -k deploy/overlays/ha",
)

#: The commands for all namespaces.
WIDE = (
    "(cd deploy/overlays/cluster-wide && kustomize edit set image orchestrator=registry.example/orchestrator:0.1.0)",
    "kubectl apply -k deploy/overlays/cluster-wide",
    "kubectl create rolebinding orchestrator-user -n shop --clusterrole=orchestrator-user --group=shop-developers",
)
AT_WORK = "tests/e2e/test_rights.py lets an API server check the overlay; test_cluster_wide.py runs with its rights"

#: The commands for a team's own functions.
RECIPE = (
    (
        "docker build --build-arg BASE=registry.example/orchestrator:0.1.0 -t registry.example/shop-worker:1 "
        "deploy/image/functions"
    ),
    "docker push registry.example/shop-worker:1",
    "(cd deploy/overlays/ha && kustomize edit set image orchestrator=registry.example/shop-worker:1)",
)
BUILT = "needs Docker: tests/kind/test_image.py builds the recipe and runs a function of it (make kind-test)"

#: Each command that no test types, by its page, without its comment: why not.
ELSEWHERE = {
    ("docs/backup.md", "kubectl get owf -A -o yaml > workflows.yaml"): RESTORED,
    ("docs/backup.md", "kubectl get ero -A -o yaml > rollouts.yaml"): RESTORED,
    ("docs/backup.md", "kubectl get oex -A -o yaml > executions.yaml"): RESTORED,
    ("docs/backup.md", "kubectl apply -f workflows.yaml -f executions.yaml"): RESTORED,
    (
        "docs/backup.md",
        "kubectl label --local -f rollouts.yaml orchestrator.dev/restored=true -o json | kubectl apply -f -",
    ): RESTORED,
    ("docs/backup.md", "orchestrator db restored --yes"): "tests/e2e/test_restore.py types it after a restore",
    (
        "docs/upgrades.md",
        "orchestrator db status",
    ): "tests/unit/cli/test_db.py types it on databases of several versions",
    ("docs/from-supabase.md", "supabase secrets set USE_ORCHESTRATOR_V2=true"): HOSTED,
    ("docs/from-supabase.md", "supabase secrets unset USE_ORCHESTRATOR_V2"): HOSTED,
    (
        "docs/ORCHESTRATOR_V2_ROLLOUT.md",
        'orchestrator rollout abort v2 --reason "what was seen, and by whom"',
    ): "the page goes on with this rollout; the rehearsal on the same page aborts one",
    ("docs/reliability.md", "make test"): "it is what runs this test",
    ("docs/reliability.md", "make chaos"): CHAOS,
    ("docs/reliability.md", "make chaos SEED=1f3a90c2"): CHAOS,
    ("docs/reliability.md", 'make chaos ARGS="-k restarts"'): CHAOS,
    (
        "docs/testing.md",
        "ORCHESTRATOR_TEST_FAULT=append:before:3 python -m orchestrator.testing run order.yaml --database ./orders.db",
    ): "ends with exit code 86, as it should: tests/unit/testing/test_faults.py starts processes so",
    ("docs/tracing.md", "uv sync --extra otel"): "changes the environment that the tests run in, from the network",
    ("deploy/local/README.md", "orchestrator local up"): SECOND,
    ("deploy/local/README.md", "orchestrator local status"): SECOND,
    ("deploy/local/README.md", "orchestrator local down"): SECOND,
    ("deploy/local/README.md", "orchestrator local tools"): "`make test` gets its binaries so",
    ("docs/runbook.md", f"kubectl rollout restart {WORKERS}"): PODS,
    ("docs/runbook.md", f"kubectl scale {WORKERS} --replicas 4"): PODS,
    ("docs/runbook.md", f"kubectl rollout restart {OURS}/component=operator"): PODS,
    ("docs/runbook.md", f"kubectl rollout restart {OURS}/part-of=orchestrator"): PODS,
    ("docs/runbook.md", "export OTHER=orchestrator-staging"): PODS,
    (
        "docs/runbook.md",
        'kubectl scale deployment --namespace "$OTHER" --selector app.kubernetes.io/component=operator --replicas 0',
    ): PODS,
    **{("docs/install.md", command): IN_KIND for command in INSTALLING},
    **{("docs/install.md", command): AT_WORK for command in WIDE},
    **{("docs/install.md", command): BUILT for command in RECIPE},
    (
        "docs/http-door.md",
        (
            "kubectl create secret generic orchestrator-door-tokens -n orchestrator "
            '--from-literal=shop="$(openssl rand -hex 32)"'
        ),
    ): "needs Pods, which mount it; tests/unit/kube/test_manifests.py holds the mount to the settings",
    ("deploy/kind/README.md", "orchestrator kind up"): IN_KIND,
    ("deploy/kind/README.md", "orchestrator kind down"): IN_KIND,
    ("deploy/kind/README.md", "make kind-test"): IN_KIND,
    ("deploy/kind/README.md", "make demo CLUSTER=kind"): IN_KIND,
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


def untyped(shown: Iterable[Block]) -> list[str]:
    """The places of blocks that a reader types and no test does."""
    return [block.place for block in shown if block.mark in ("", "acts") and block not in TYPED]


@pytest.fixture(scope="module")
def readers() -> list[str]:
    """The tests that type pages, imported: what each of them types is in TYPED now."""
    return [importlib.import_module(name).__name__ for name in READERS]


def test_every_block_that_a_reader_types_is_typed_by_a_test(readers: list[str]) -> None:
    # Of a page in two languages one is read: tests/unit/docs/test_languages.py holds the other to the same blocks.
    assert untyped(block for block in shell_blocks() if not block.page.name.endswith(".pt-BR.md")) == []
    assert set(TYPED.values()) >= set(readers)


def test_a_block_that_no_test_asked_for_is_found(readers: list[str]) -> None:
    assert readers
    known = next(iter(TYPED))
    assert untyped([known, replace(known, text="another\n"), replace(known, mark="elsewhere")]) == [known.place]


def test_whoever_types_pages_is_asked_here() -> None:
    calls = {
        str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
        for path in (ROOT / "tests").rglob("test_*.py")
        if path != Path(__file__) and "typed_by(__name__" in path.read_text(encoding="utf-8")
    }
    assert calls == set(READERS)


def elsewhere() -> list[tuple[str, str]]:
    """Each command that no test types: its page, and the command without its comment."""
    blocks_ = [block for block in shell_blocks() if block.mark == "elsewhere"]
    lines = ((named(b.page), line) for b in blocks_ for line in re.sub(r"\s*\\\n\s*", " ", b.text).splitlines())
    return [(page, re.sub(r"\s+#.*", "", line)) for page, line in lines]


def test_each_command_that_no_test_types_has_its_reason() -> None:
    assert sorted(set(elsewhere()) ^ ELSEWHERE.keys()) == []


@pytest.mark.parametrize("page", pages(), ids=named)
def test_no_command_hides_in_an_indented_block(page: Path) -> None:
    assert [line for line in prose(page).splitlines() if COMMAND.match(line)] == []


# -- settings that the reader fills in


def variables() -> set[str]:
    """Every setting of ours, and what other programs call theirs."""
    names = {f"ORCHESTRATOR_{name.upper()}" for name in engine_settings.Settings.__dataclass_fields__}
    names |= {operator_settings.variable(name) for name in operator_settings.Settings.model_fields}
    names |= {f"{v1_settings.PREFIX}{name.upper()}" for name in v1_settings.V1HttpSettings.model_fields}
    return names | {"KUBECONFIG", "PROMETHEUS", "ROLLOUT", "ADMIN_DATABASE", "OTEL_EXPORTER_OTLP_ENDPOINT"}


@pytest.mark.parametrize("block", [b for b in shell_blocks() if b.mark == "yours"], ids=lambda block: block.place)
def test_a_setting_that_a_reader_fills_in_exists(block: Block) -> None:
    lines = block.text.splitlines()
    set_ = [re.match(r"export (\w+)=\S+$", line) for line in lines]
    assert [line for line, match in zip(lines, set_, strict=True) if match is None] == []
    assert {match[1] for match in set_ if match} <= variables()


# -- metrics


#: Names that begin as metrics do: packages, a table, a role.
NO_METRICS = {"orchestrator_operator", "orchestrator_facts", "orchestrator_watcher"}


@pytest.mark.parametrize("page", pages(), ids=named)
def test_every_metric_that_a_page_names_is_in_the_reference(page: Path) -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/reference/metrics.md").read_text("utf-8"), re.MULTILINE))
    told = set(re.findall(r"(?<![\w./-])orchestrator_[a-z0-9_]*[a-z0-9]\b(?![./]\w)", page.read_text(encoding="utf-8")))
    parts = {f"{name}{part}" for name in listed for part in ("_bucket", "_count", "_sum")}
    assert "orchestrator_executions_stalled" in listed
    assert sorted(told - listed - parts - NO_METRICS) == []


# -- commands within sentences and tables


def inline(*programs: str) -> list[tuple[str, str]]:
    """Each command of these programs that stands in a sentence, or that no test types; once."""
    spans = [(named(page), span) for page in pages() for span in re.findall(r"`([^`]+)`", prose(page))]
    found = [(page, " ".join(span.replace("\\|", "|").split())) for page, span in spans] + elsewhere()
    return sorted({(page, span) for page, span in found if span.partition(" ")[0] in programs and " " in span})


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


@pytest.mark.parametrize(("page", "span"), inline("orchestrator"))
def test_a_command_in_a_sentence_exists(page: str, span: str) -> None:
    assert list(unknown(get_command(app), words(span))) == []


MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "span"), inline("make"))
def test_a_target_in_a_sentence_exists_and_reads_its_variables(page: str, span: str) -> None:
    target, *settings = words(span)
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    given = dict(setting.split("=", 1) for setting in settings)
    assert [name for name in given if f"$({name})" not in recipe[1] and f"$(or $({name})," not in recipe[1]] == []
    if "WHAT" in given:
        assert given["WHAT"] in benchmarks()


def benchmarks() -> set[str]:
    """The names that `python -m tests.benchmarks` knows: its functions that are commands."""
    text = (ROOT / "tests" / "benchmarks" / "__main__.py").read_text(encoding="utf-8")
    named_ = re.findall(r'@app\.command\("([\w-]+)"', text)
    functions = re.findall(r"@app\.command\(\)\ndef (\w+)", text)
    return {*named_, *(name.replace("_", "-") for name in functions)}


@pytest.mark.parametrize(("page", "span"), inline("python"))
def test_a_module_in_a_sentence_exists_and_knows_its_options(page: str, span: str) -> None:
    flag, module, *rest = words(span)
    found = importlib.util.find_spec(module)
    assert (flag, found is not None) == ("-m", True)
    assert found is not None
    locations = found.submodule_search_locations
    file = Path(locations[0]) / "__main__.py" if locations else Path(found.origin or "")
    text = file.read_text(encoding="utf-8")
    assert [word for word in rest if word.startswith("--") and f'"{word}"' not in text] == []
    if module == "tests.benchmarks":
        assert rest[0] in benchmarks()


VERBS = {
    *("annotate", "apply", "auth", "create", "delete", "describe", "get", "label", "logs", "patch", "rollout", "scale"),
    *("wait", "orchestrator"),  # the last one is ours: kubectl finds kubectl-orchestrator
}
#: Kinds of others that pages speak of.
THEIRS = {
    "configmap",
    "deployment",
    "events",
    "namespace",
    "podmonitors",
    "pods",
    "rolebinding",
    "secret",
    "secrets",
}


def kinds() -> set[str]:
    """What kubectl calls our kinds: in the plural, the singular, short, and all of them."""
    named_ = [definition["spec"]["names"] for definition in (crd(one) for one in DEFINITIONS)]
    ours = {word for names in named_ for word in (names["plural"], names["singular"], *names["shortNames"])}
    return ours | {word for names in named_ for word in names.get("categories", [])} | THEIRS


@pytest.mark.parametrize(("page", "span"), inline("kubectl"))
def test_a_call_of_kubectl_in_a_sentence_names_kinds_and_files_that_exist(page: str, span: str) -> None:
    verb, *rest = words(span)
    assert verb in VERBS
    text = (ROOT / page).read_text(encoding="utf-8")
    for flag, path in itertools.pairwise(rest):
        if flag in ("-f", "-k", "--filename", "--kustomize") and path != "-":
            assert (ROOT / path).exists() or f" > {path}\n" in text  # the page has made it
    if verb in ("auth", "rollout"):
        rest = rest[1:]  # can-i, restart
    if verb == "auth":
        rest = rest[1:]  # what one may do
    if verb == "orchestrator":
        assert list(unknown(get_command(app), [word for word in rest if word != "…"])) == []
    elif rest and not rest[0].startswith("-"):
        assert rest[0].partition("/")[0] in kinds()


@pytest.mark.parametrize("page", pages(), ids=named)
def test_no_page_asks_kubectl_for_workflows_that_may_be_those_of_others(page: Path) -> None:
    """Where Argo Workflows is installed as well, `workflows` is whichever kubectl finds first; `owf` is ours."""
    assert not re.search(r"kubectl \w+ (\S+,)?workflows?(?![\w.-])", page.read_text(encoding="utf-8"))
