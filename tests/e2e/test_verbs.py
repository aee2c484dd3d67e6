"""People steer a rollout on a real API server: each verb by the command line or by `kubectl annotate`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.cli.rollout import app
from typer.testing import CliRunner

from tests.support.polling import eventually
from tests.support.rollout_documents import rollout
from tests.support.site import PERCENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

CRITERIA = [
    {"name": "failures", "type": "comparison", "preset": "failures"},
    {"name": "first-attempts", "type": "comparison", "preset": "first-attempt-failures"},
]
FROZEN = {"freeze": ["2000-01-01/2900-01-01"]}


@dataclass
class Said:
    """What a command answered, and how the rollout and the flag stood after it."""

    code: int
    answer: dict[str, Any]
    status: dict[str, Any]
    percent: str | None  # of the flag


@dataclass
class Story:
    """Everything that was said, by what it was."""

    site: Site
    said: dict[str, Said] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)  # at the end

    def say(self, what: str, *arguments: str) -> None:
        """A verb of the command line; it returns when the controller has heard it."""
        where = {
            "KUBECONFIG": str(self.site.plane.cluster.kubeconfig),
            "ORCHESTRATOR_NAMESPACE": self.site.namespace,
        }
        done = CliRunner().invoke(app, [*arguments, "v2", "--output", "json"], env=where)
        assert done.stdout, done.output
        self._remember(what, done.exit_code, json.loads(done.stdout))

    def annotate(self, what: str, word: str) -> None:
        """The same by kubectl, which waits for nobody."""
        verb = word.partition("=")[0]
        self.site.kubectl("annotate", "enginerollout", "v2", f"orchestrator.dev/{word}")
        self.site.until_status(
            "EngineRollout",
            "v2",
            lambda s: any(heard["verb"] == verb for heard in s.get("heard", [])),
            f"{word} to be heard",
        )
        self._remember(what, 0, {})

    def patch(self, change: dict[str, Any]) -> None:
        self.site.kubectl("patch", "enginerollout", "v2", "--type=merge", "-p", json.dumps({"spec": change}))
        generation = self.site.get("EngineRollout", "v2")["metadata"]["generation"]
        self.site.until_status(
            "EngineRollout", "v2", lambda s: s.get("observedGeneration") == generation, "a reconcile"
        )

    def _remember(self, what: str, code: int, answer: dict[str, Any]) -> None:
        """A word is heard when the status says so; the flag follows."""
        status = self.site.status("EngineRollout", "v2")
        wanted = None if status["percent"] == "0" else status["percent"]
        eventually(lambda: self.site.flag().get(PERCENT) == wanted, f"{what}: a flag of {wanted} %")
        self.said[what] = Said(code, answer, status, wanted)


@pytest.fixture(scope="module")
def story(control_plane: ControlPlane) -> Iterator[Story]:
    with control_plane.site("verbs") as site:
        site.start("operator")
        document = rollout("v2", (5, "1h"), (50, "1h"), (100, "1h"), criteria=CRITERIA)
        document["spec"]["stages"][1]["approval"] = True
        site.apply(document)
        site.until_status("EngineRollout", "v2", lambda s: s.get("phase") == "Progressing", "the first stage")
        told = Story(site)
        told.annotate("pause", "pause=lunch")
        told.say("resume", "resume")
        told.say("promote too soon", "promote")
        told.patch({"windows": FROZEN})
        told.say("force through a freeze", "promote", "--force")
        told.patch({"windows": {"freeze": []}})
        told.say("force", "promote", "--force")
        stages = site.get("EngineRollout", "v2")["spec"]["stages"]
        told.patch({"stages": [stages[0], {**stages[1], "percent": 20}, stages[2]]})
        told._remember("lower", 0, {})
        told.say("abort", "abort", "--reason", "duplicate mails")
        site.until_status("EngineRollout", "v2", lambda s: s.get("phase") == "RolledBack", "RolledBack")
        told.spec = site.get("EngineRollout", "v2")["spec"]
        yield told


def test_a_pause_by_kubectl_holds_and_its_word_is_taken_off(story: Story) -> None:
    status = story.said["pause"].status
    assert (status["phase"], status["pausedBy"]) == ("Paused", "lunch")
    left = story.site.get("EngineRollout", "v2")["metadata"]["annotations"]
    assert [key for key in left if key.startswith("orchestrator.dev/")] == []


def test_resume_is_answered_when_it_goes_on(story: Story) -> None:
    said = story.said["resume"]
    assert (said.code, said.answer["done"], said.status["phase"]) == (0, True, "Progressing")


def test_a_promotion_without_a_pass_is_refused_with_its_reason(story: Story) -> None:
    said = story.said["promote too soon"]
    assert (said.code, said.percent) == (1, "5")
    assert "failures:" in said.answer["answer"]


def test_a_freeze_stops_a_forced_promotion_too(story: Story) -> None:
    said = story.said["force through a freeze"]
    assert (said.code, said.percent, "window closed" in said.answer["answer"]) == (1, "5", True)
    assert said.status["window"].startswith("closed until")


def test_a_forced_promotion_is_made_and_says_what_it_did_without(story: Story) -> None:
    said = story.said["force"]
    assert (said.code, said.percent) == (0, "50")
    assert "without: " in said.status["decisions"][-1]["message"]


def test_a_percent_that_is_edited_down_is_lowered(story: Story) -> None:
    said = story.said["lower"]
    assert (said.status["percent"], said.percent) == ("20", "20")
    assert said.status["decisions"][-1]["reason"] == "SpecEdited"


def test_an_abort_clears_the_flag_and_is_told_with_its_reason(story: Story) -> None:
    said = story.said["abort"]
    assert (said.code, said.percent) == (0, None)
    assert "duplicate mails" in said.status["message"]
    told = [one for one in story.site.events("EngineRollout", "v2") if one["reason"] == "Aborted"]
    assert "Warning" in {event["type"] for event in told}


def test_no_verb_wrote_the_spec(story: Story) -> None:
    assert [stage["percent"] for stage in story.spec["stages"]] == [5, 20, 100]
    assert "paused" not in story.spec
