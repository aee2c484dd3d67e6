"""docs/reference says what the code does: nothing is missing, nothing is stale, every example is right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from orchestrator_operator import settings as operator
from orchestrator_operator.reference import __main__ as generator
from orchestrator_operator.reference import commands, metrics, resources, settings
from orchestrator_operator.reference.markdown import table
from orchestrator_operator.reference.pages import FOLDER, pages
from orchestrator_operator.specs.crds import DEFINITIONS
from orchestrator_operator.specs.execution import ExecutionSpec
from orchestrator_operator.specs.rollout import RolloutSpec, parse_rollout
from prometheus_client import REGISTRY, generate_latest

from orchestrator import settings as engine
from orchestrator.authoring import compile_workflow
from orchestrator.schemas import input_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = pages()
COMMANDS = {command.typed: command for command in commands.commands()}


@pytest.mark.parametrize("name", PAGES)
def test_a_committed_page_is_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name], "run `make generate`"


def test_check_finds_a_page_that_differs_one_that_is_missing_and_one_that_is_left_over(tmp_path: Path) -> None:
    def check() -> int:
        return generator.main(["--folder", str(tmp_path), "--check"])

    assert check() == 1
    assert (generator.main(["--folder", str(tmp_path)]), check()) == (0, 0)
    (tmp_path / "metrics.md").write_text("# Metrics")
    assert check() == 1
    generator.main(["--folder", str(tmp_path)])
    (tmp_path / "former.md").write_text("# Former")
    assert (check(), generator.main(["--folder", str(tmp_path)]), check()) == (1, 0, 0)


# -- resources


def test_every_field_that_a_person_writes_has_a_meaning() -> None:
    rows = re.findall(r"^\| `(spec\.[^`]+)` \|.*\| ([^|]*) \|$", PAGES["resources.md"], re.MULTILINE)
    assert len(rows) > 100
    assert [field for field, meaning in rows if not meaning.strip()] == []


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("spec.analysis.ages", "[1m, 10m, 1d]"),
        ("spec.analysis.passMargin.relative", "1.5"),
        ("spec.criteria[].onBreach", "Hold"),
        ("spec.blind.budget", "2h"),
        ("spec.engine", "auto"),
        ("spec.nodes[].join", "all"),
    ],
)
def test_a_default_is_shown_as_one_would_write_it(field: str, default: str) -> None:
    (row,) = re.findall(rf"^\| `{re.escape(field)}` \| [^|]* \| ([^|]*) \|", PAGES["resources.md"], re.MULTILINE)
    assert row == f"`{default}`"


def test_the_example_of_a_workflow_compiles_and_that_of_an_execution_fits_it() -> None:
    workflow = yaml.safe_load(resources.example("Workflow"))
    compiled = compile_workflow(workflow["spec"], namespace="default", name=workflow["metadata"]["name"])
    execution = ExecutionSpec.model_validate(yaml.safe_load(resources.example("Execution"))["spec"])
    assert compiled.id == f"default/{execution.workflow}"
    assert input_problems(compiled.input_schema, execution.input, "spec.input") == []


def test_the_example_of_a_rollout_writes_the_defaults_out() -> None:
    assert parse_rollout(yaml.safe_load(resources.example("EngineRollout"))["spec"]) == RolloutSpec()


def test_every_kind_has_an_example_of_its_own() -> None:
    kinds = [definition.resource.kind for definition in DEFINITIONS]
    assert [yaml.safe_load(resources.example(kind))["kind"] for kind in kinds] == kinds


# -- commands


def lines() -> Iterator[tuple[str, str]]:
    """Every example, with the command whose help shows it."""
    for command in COMMANDS.values():
        yield from ((command.typed, line) for line in commands.examples(command))


@pytest.mark.parametrize(("typed", "line"), list(lines()))
def test_an_example_has_only_options_that_its_command_has(typed: str, line: str) -> None:
    words = shlex.split(re.sub(r"[$()]", " ", line))
    start = words.index("orchestrator")
    names, options = [], {"--help"}
    for word in words[start:]:
        if " ".join([*names, word]) not in COMMANDS:
            break
        names.append(word)
        found = COMMANDS[" ".join(names)].found
        options |= {name for param in found.params for name in (*param.opts, *param.secondary_opts)}
    assert len(names) > 1, f"{typed} shows an example of no command"
    end = words.index("|", start) if "|" in words[start:] else len(words)  # what follows is another program's
    asked = [word.partition("=")[0] for word in words[start:end] if re.match(r"--?[a-z]", word)]
    assert [option for option in asked if option not in options] == []


def test_every_command_that_runs_has_an_example() -> None:
    running = [command for command in COMMANDS.values() if not command.below]
    assert [command.typed for command in running if not commands.examples(command)] == []


# -- metrics


def test_a_metric_is_listed_by_the_name_that_is_scraped() -> None:
    scraped = set(re.findall(r"^# TYPE (orchestrator_\w+) ", generate_latest(REGISTRY).decode(), re.MULTILINE))
    listed = {metric.name for metric in metrics.declared_metrics()}
    assert {name for name in scraped if not name.endswith("_created")} <= listed | set(metrics.names())
    assert listed <= scraped


def test_every_metric_says_what_it_means() -> None:
    assert [one.name for one in (*metrics.declared_metrics(), *metrics.store_metrics()) if len(one.help) < 10] == []


# -- settings


NO_SETTINGS = {
    "ORCHESTRATOR_V1_": "a prefix",
    "ORCHESTRATOR_CONTAINER_": "a prefix",
    "ORCHESTRATOR_TEST_FAULT": "the testing kit's own",
    "ORCHESTRATOR_KIND_ASSETS": "of the kind cluster: deploy/kind/README.md",
    "ORCHESTRATOR_KIND_INSTALL": "of the kind cluster: deploy/kind/README.md",
    "ORCHESTRATOR_KIND_NODE_IMAGE": "of the kind cluster: deploy/kind/README.md",
    "ORCHESTRATOR_IDEMPOTENCY_KEY": "what a container is told",
    "ORCHESTRATOR_EXECUTION": "the same",
    "ORCHESTRATOR_ATTEMPT": "the same",
}


def test_every_variable_that_the_code_names_is_on_the_page() -> None:
    named = set()
    for package in (ROOT / "orchestrator", ROOT / "operator" / "orchestrator_operator"):
        for path in package.rglob("*.py"):
            named |= set(re.findall(r"\b(?:USE_)?ORCHESTRATOR_[A-Z0-9_]+", path.read_text(encoding="utf-8")))
    assert named - settings.variables() - NO_SETTINGS.keys() == set()


#: One variable of the environment that workers and operators may share; it has to mean the same to both.
SHARED = {"ORCHESTRATOR_DATABASE", "ORCHESTRATOR_SCHEMA", "ORCHESTRATOR_HTTP_ALLOW", "ORCHESTRATOR_V1"}
SHARED |= {"ORCHESTRATOR_CONTAINERS", "ORCHESTRATOR_PATIENCE", "ORCHESTRATOR_TRACING"}


def test_no_variable_means_one_thing_to_a_worker_and_another_to_the_operator() -> None:
    engines, operators = ({one.variable for one in found} for found in (engine.described(), operator.described()))
    assert engines & operators == SHARED


# -- Markdown


def test_a_cell_cannot_leave_its_table() -> None:
    assert table(("a",), [("x | y\nz <b> `<c> | d`",)]).splitlines()[2:] == ["| x \\| y z &lt;b> `<c> \\| d` |"]
