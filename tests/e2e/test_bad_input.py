"""Bad input: a condition with the field's path and a Kubernetes Event, and nothing crashes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.specs import ROLLOUTS

from tests.support.polling import eventually
from tests.support.site import document, execution, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.site import Site

pytestmark = pytest.mark.e2e

A: dict[str, Any] = {"id": "a", "type": "transform", "with": {"x": "${input.n}"}}
CONTAINER = {"id": "a", "type": "container", "with": {"image": "shop/box:1"}}
SWITCH: dict[str, Any] = {"id": "s", "type": "switch", "with": {"cases": [{"when": "${true}", "to": ["zz"]}]}}
SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
STAGES = [{"name": "first", "percent": 50, "duration": "1h"}, {"name": "last", "percent": 100, "duration": "1h"}]


@pytest.fixture(scope="module")
def site(shared_site: Site) -> Iterator[Site]:
    """The shared site; after all this bad input its operator must be the same process still."""
    operator = shared_site.process("operator")
    yield shared_site
    shared_site.kubectl("delete", "enginerollouts", "--all", "--timeout=60s")
    assert shared_site.process("operator") == operator
    assert operator.alive(), "the operator went down over bad input"


def told(site: Site, kind: str, name: str, text: str) -> dict[str, Any]:
    """The warning about an object whose message holds a text."""

    def look() -> dict[str, Any] | None:
        return next((event for event in site.events(kind, name) if text in event["message"]), None)

    event: dict[str, Any] = eventually(look, f"an Event about {kind} {name} with {text!r}", every=0.5)
    return event


def node(id_: str, *needs: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "type": "transform", "needs": list(needs), **fields}


@pytest.mark.parametrize(
    ("name", "bad", "path", "says"),
    [
        ("cycle", {"nodes": [node("a", "b"), node("b", "a")]}, "spec.nodes[0].needs", "in a circle"),
        ("unknown-need", {"nodes": [node("a"), node("b", "zz")]}, "spec.nodes[1].needs[0]", "there is no node 'zz'"),
        ("bad-expression", {"nodes": [node("a", **{"with": {"x": "${1 +}"}})]}, "spec.nodes[0].with.x", ""),
        ("undeclared", {"nodes": [node("a", **{"with": {"x": "${secrets.x}"}})]}, "spec.nodes[0].with.x", "secrets"),
        ("compensate", {"nodes": [node("a", compensate={"type": "wait"})]}, "spec.nodes[0].compensate.type", "http"),
        ("limit", {"nodes": [A], "concurrency": {"limit": 1, "key": "${1 +}"}}, "spec.concurrency.key", ""),
        ("branch", {"nodes": [A, SWITCH]}, "spec.nodes[1].with.cases[0].to[0]", "there is no node 'zz'"),
        ("container", {"nodes": [CONTAINER]}, "spec.nodes[0].type", "containers are off here"),
        ("no-function", {"nodes": [{"id": "a", "type": "python", "with": {}}]}, "spec.nodes[0].with.call", ""),
        ("bad-schema", {"nodes": [A], "input": {"schema": {"type": "strnig"}}}, "spec.input.schema", ""),
    ],
)
def test_a_bad_workflow_is_refused_with_the_fields_path(
    site: Site, name: str, bad: dict[str, Any], path: str, says: str
) -> None:
    spec = dict(bad)
    site.apply(workflow(name, *spec.pop("nodes"), **spec))
    said = site.until_condition("Workflow", name, "Valid", "False")
    assert (said["reason"], said["observedGeneration"]) == ("InvalidWorkflow", 1)
    assert f"{path}" in said["message"]
    assert says in said["message"]
    event = told(site, "Workflow", name, path)
    assert (event["type"], event["reason"]) == ("Warning", "InvalidWorkflow")


@pytest.mark.parametrize(
    ("name", "spec", "reason", "path"),
    [
        ("wrong-type", {"input": {"n": "five"}}, "InvalidInput", "spec.input.n"),
        ("missing-input", {"input": {}}, "InvalidInput", "spec.input"),
        ("nul", {"input": {"n": 1, "text": "a\0b"}}, "InvalidInput", "spec.input"),
        ("fork", {"input": {"n": 1}, "from": {"execution": "x", "node": "a"}}, "ForkRefused", "spec.from"),
        ("lost", {"workflow": "nowhere", "input": {"n": 1}}, "WorkflowNotFound", "spec.workflow"),
    ],
)
def test_a_bad_execution_is_refused_with_the_fields_path(
    site: Site, name: str, spec: dict[str, Any], reason: str, path: str
) -> None:
    site.apply(workflow("good", A, input={"schema": SCHEMA}))
    body = {"engine": "v2", **spec}
    site.apply(execution(f"bad-{name}", body.pop("workflow", "good"), body.pop("input"), **body))
    said = site.until_condition("Execution", f"bad-{name}", "Accepted", "False")
    assert said["reason"] == reason
    assert said["message"].startswith(f"{path}")
    assert site.status("Execution", f"bad-{name}")["phase"] == "Pending"
    event = told(site, "Execution", f"bad-{name}", path)
    assert (event["type"], event["reason"]) == ("Warning", reason)


def test_an_execution_of_a_missing_workflow_starts_when_the_workflow_appears(site: Site) -> None:
    site.apply(execution("early", "later", {"n": 1}, engine="v2"))
    assert site.until_condition("Execution", "early", "Accepted", "False")["reason"] == "WorkflowNotFound"
    site.apply(workflow("later", A))
    assert site.until_phase("early", "Success")["engine"] == "v2"
    assert site.condition("Execution", "early", "Accepted")["status"] == "True"


def test_an_execution_of_an_invalid_workflow_starts_when_the_workflow_is_corrected(site: Site) -> None:
    site.apply(workflow("mended", node("a", "zz")))
    site.apply(execution("patient", "mended", {"n": 1}, engine="v2"))
    said = site.until_condition("Execution", "patient", "Accepted", "False")
    assert said["reason"] == "WorkflowInvalid"
    assert "spec.nodes[0].needs[0]" in said["message"]
    site.apply(workflow("mended", A))
    site.until_phase("patient", "Success")


@pytest.mark.parametrize(
    ("name", "spec", "path"),
    [
        ("descending", {"stages": [STAGES[1], STAGES[0]]}, "spec.stages[1].percent"),
        ("bad-duration", {"stages": [{**STAGES[0], "duration": "soon"}, STAGES[1]]}, "spec.stages[0].duration"),
        ("zone", {"windows": {"timeZone": "Mars/Olympus"}}, "spec.windows.timeZone"),
        ("window", {"windows": {"promote": ["Someday 09:00-17:00"]}}, "spec.windows.promote[0]"),
        ("notify", {"notify": {"webhook": {"secret": "no name", "key": "url"}}}, "spec.notify.webhook.secret"),
        ("holdback", {"stages": [{**STAGES[0], "holdback": 1}, STAGES[1]]}, "spec.stages[0].holdback"),
        (
            "own-metric",
            {"criteria": [{"name": "mine", "type": "comparison", "bad": "rate(a_total[5m])", "total": "b_total"}]},
            "spec.criteria[0].bad",
        ),
    ],
)
def test_a_bad_rollout_is_refused_with_the_fields_path(site: Site, name: str, spec: dict[str, Any], path: str) -> None:
    site.apply(document(ROLLOUTS, f"bad-{name}", {"stages": STAGES, **spec}))
    said = site.until_condition("EngineRollout", f"bad-{name}", "Valid", "False")
    assert path in said["message"]
    assert site.status("EngineRollout", f"bad-{name}")["phase"] == "Pending"
    assert told(site, "EngineRollout", f"bad-{name}", path)["type"] == "Warning"
    assert site.flag() == {}
    site.kubectl("delete", "enginerollout", f"bad-{name}", "--timeout=60s")


def test_a_rollout_whose_secret_is_missing_says_so_and_starts_when_it_is_there(control_plane: Any) -> None:
    with control_plane.site("no-secret") as alone:
        secret = json.loads(alone.kubectl("get", "secret", "orchestrator-flags", "-o", "json"))
        alone.kubectl("delete", "secret", "orchestrator-flags")
        alone.start("operator")
        alone.apply(document(ROLLOUTS, "v2", {"stages": STAGES, "analysis": {"ages": ["1s", "2s"]}}))
        said = alone.until_condition("EngineRollout", "v2", "Valid", "False")
        assert said["reason"] == "SecretMissing"
        assert "spec.flag.secret" in said["message"]
        assert told(alone, "EngineRollout", "v2", "spec.flag.secret")["type"] == "Warning"
        alone.kubectl("create", "-f", "-", stdin={**secret, "metadata": {"name": "orchestrator-flags"}})
        alone.until_condition("EngineRollout", "v2", "Valid", "True")


def test_a_rollout_of_a_secret_that_the_operator_may_not_read_says_so(site: Site) -> None:
    site.kubectl("create", "secret", "generic", "somebody-elses")
    site.apply(document(ROLLOUTS, "greedy", {"stages": STAGES, "flag": {"secret": "somebody-elses"}}))
    said = site.until_condition("EngineRollout", "greedy", "Valid", "False")
    assert "spec.flag.secret" in said["message"]
    site.kubectl("delete", "enginerollout", "greedy", "--timeout=60s")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"spec": None}, "spec"),
        ({"spec": {"workflow": "good", "engine": "v3"}}, "spec.engine"),
        ({"spec": {"workflow": "good", "input": [1]}}, "spec.input"),
        ({"spec": {"workflow": "good", "ttlSecondsAfterFinished": -1}}, "spec.ttlSecondsAfterFinished"),
        ({"spec": {"workflow": "good", "ipnut": {}}}, "spec.ipnut"),
    ],
)
def test_the_api_server_refuses_what_has_not_the_shape(site: Site, change: dict[str, Any], path: str) -> None:
    said = site.ask("apply", "-f", "-", stdin={**execution("misshapen", "good"), **change})
    assert said.code != 0
    assert path in said.error
    assert not site.exists("Execution", "misshapen")


def test_a_good_object_next_to_all_this_works(site: Site) -> None:
    site.apply(workflow("good", A, input={"schema": SCHEMA}), workflow("broken", node("a", "zz")))
    bad = [execution(f"crowd-{i}", "broken", {"n": "x"}) for i in range(20)]
    site.create(*bad, execution("fine", "good", {"n": 7}, engine="v2"))
    site.until_phase("fine", "Success")
