"""`orchestrator rollout`: what a person types, what the controller's own plan makes of it, what is printed."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.adapters.kubernetes import Kubernetes
from orchestrator_operator.cli.rollout import app
from orchestrator_operator.cli.rollout_verbs import NOT_HEARD, REFUSED, VERBS
from orchestrator_operator.rollout.model import Alarm, DropAnnotation, Power, Unreadable
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout_status import Phase, read_status, write_status
from typer.testing import CliRunner

from orchestrator.errors import InvalidInput, OrchestratorError
from tests.support.cluster import NAMESPACE, FakeKubernetes, document
from tests.support.rollouts import DOCUMENT, HOUR, PASSING, World, cohorts, spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typer.testing import Result

DOWN = Unreadable("PrometheusUnreachable", "no answer")


class Cluster(FakeKubernetes):
    """A fake that a command may log in to. Its controller is the real plan: it looks at each second `get`."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.world = World()
        self.listens = True
        self._gets = 0

    async def aclose(self) -> None:
        """Nothing is open."""

    async def get(self, resource: Any, namespace: str, name: str) -> dict[str, Any]:
        self._gets += 1
        if self.listens and self._gets % 2 == 0:
            await self.reconcile()
        return await super().get(resource, namespace, name)

    async def reconcile(self, after: timedelta = timedelta(0)) -> None:
        found = await super().get(ROLLOUTS, NAMESPACE, "v2")
        self.world.extra["annotations"] = found["metadata"].get("annotations") or {}
        planned = self.world.step(after)
        await self.patch_status(ROLLOUTS, NAMESPACE, "v2", write_status(planned.status))
        for action in planned.actions:
            if isinstance(action, DropAnnotation):
                await self.patch(ROLLOUTS, NAMESPACE, "v2", {"metadata": {"annotations": {action.key: None}}})

    def goes_on(self, after: timedelta = timedelta(0), **changes: Any) -> None:
        """What the world is now, and the reconcile that sees it."""
        for name, value in changes.items():
            setattr(self.world, name, value)
        asyncio.run(self.reconcile(after))


@pytest.fixture
def cluster(kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(kubernetes._clock)

    async def connect(**_: Any) -> Cluster:
        return made

    monkeypatch.setattr(Kubernetes, "connect", connect)
    asyncio.run(made.create(ROLLOUTS, NAMESPACE, document(ROLLOUTS, "v2", DOCUMENT)))
    made.world.running()
    made.goes_on()
    return made


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--namespace", NAMESPACE])


def said(*arguments: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(command(*arguments, "--output", "json").stdout)
    return found


def phase(cluster: Cluster) -> Phase:
    return read_status(cluster.objects[ROLLOUTS.plural, NAMESPACE, "v2"]["status"]).phase


def annotations(cluster: Cluster) -> Any:
    return cluster.objects[ROLLOUTS.plural, NAMESPACE, "v2"]["metadata"].get("annotations")


def test_pause_waits_until_it_was_heard_and_says_what_it_did(cluster: Cluster) -> None:
    result = command("pause", "v2", "--reason", "release freeze")
    assert (result.exit_code, phase(cluster), annotations(cluster)) == (0, Phase.PAUSED, {})
    assert result.stdout == "v2: no promotion and no start until it is resumed; criteria still roll back\n"


@pytest.mark.parametrize("verb", ["pause", "resume", "abort"])
def test_a_verb_said_twice_is_as_said_once(cluster: Cluster, verb: str) -> None:
    first = command(verb, "v2")
    stood = phase(cluster)
    second = command(verb, "v2")
    assert (first.exit_code, second.exit_code, phase(cluster)) == (0, 0, stood)


def test_resume_lifts_a_pause(cluster: Cluster) -> None:
    command("pause", "v2")
    assert command("resume", "v2").exit_code == 0
    assert phase(cluster) is Phase.PROGRESSING


def test_a_pause_of_the_spec_is_refused_to_resume_with_what_to_do(cluster: Cluster) -> None:
    cluster.goes_on(spec=spec(paused=True))
    result = command("resume", "v2")
    assert result.exit_code == REFUSED
    assert "error: v2: spec.paused is true: set it to false" in result.stderr


def test_promote_ends_the_stage_that_runs(cluster: Cluster) -> None:
    cluster.goes_on(cohorts=cohorts(PASSING))
    answer = said("promote", "v2")
    assert (answer["heard"], answer["done"], answer["stage"], answer["percent"]) == (True, True, "two", "25")


def test_promote_without_a_pass_is_refused_and_force_is_not(cluster: Cluster) -> None:
    refused = command("promote", "v2")
    assert refused.exit_code == REFUSED
    assert "has reached the age" in refused.stderr
    forced = command("promote", "v2", "--force")
    assert forced.exit_code == 0
    assert "a person forced one to its end, without:" in forced.stdout


def test_approve_gives_what_is_awaited(cluster: Cluster) -> None:
    stages = [{**stage, "approval": stage["name"] == "two"} for stage in DOCUMENT["stages"]]
    cluster.goes_on(HOUR, spec=spec(stages=stages), cohorts=cohorts(PASSING))
    assert phase(cluster) is Phase.AWAITING_APPROVAL
    assert "awaits approval: `orchestrator rollout approve v2` (two)" in command("status", "v2").stdout
    answer = said("approve", "v2")
    assert (answer["value"], answer["done"], answer["stage"]) == ("two", True, "two")


def test_approve_without_anything_to_approve_fails_and_says_so(cluster: Cluster) -> None:
    result = command("approve", "v2")
    assert isinstance(result.exception, OrchestratorError)
    assert str(result.exception) == "v2: it is Progressing, and awaits no approval"
    assert annotations(cluster) is None


def test_approve_in_advance_names_the_stage(cluster: Cluster) -> None:
    result = command("approve", "v2", "--stage", "one")
    assert (result.exit_code, cluster.world.status.approved) == (0, "one")


def test_abort_rolls_back_with_its_reason(cluster: Cluster) -> None:
    result = command("abort", "v2", "--reason", "duplicate mails")
    assert (result.exit_code, "duplicate mails" in result.stdout) == (0, True)
    assert phase(cluster) in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    assert cluster.world.flag.values.clear


def test_a_controller_that_does_not_listen_is_said_with_an_exit_code_of_its_own(cluster: Cluster) -> None:
    cluster.listens = False
    result = command("pause", "v2", "--timeout", "300ms")
    assert result.exit_code == NOT_HEARD
    assert "not heard within 300ms (it is Progressing)" in result.stderr
    assert "does the operator run?" in result.stderr
    assert annotations(cluster) == {"orchestrator.dev/pause": "true"}


def test_who_does_not_want_to_wait_need_not(cluster: Cluster) -> None:
    cluster.listens = False
    result = command("pause", "v2", "--timeout", "0s", "--output", "json")
    assert (result.exit_code, json.loads(result.stdout)["heard"]) == (0, False)


def test_a_timeout_that_is_no_duration_is_bad_input(cluster: Cluster) -> None:
    result = command("pause", "v2", "--timeout", "soon")
    assert isinstance(result.exception, InvalidInput)
    assert annotations(cluster) is None


def test_no_verb_writes_the_spec(cluster: Cluster) -> None:
    before = cluster.objects[ROLLOUTS.plural, NAMESPACE, "v2"]["spec"]
    for verb in ("pause", "resume", "promote", "abort"):
        command(verb, "v2")
    assert cluster.objects[ROLLOUTS.plural, NAMESPACE, "v2"]["spec"] == before == DOCUMENT


def rolled_back(cluster: Cluster) -> None:
    """Aborted, and past the cooldown of an attempt after it."""
    command("abort", "v2")
    cluster.goes_on()
    cluster.goes_on()
    assert phase(cluster) is Phase.ROLLED_BACK


def attempt(cluster: Cluster) -> Any:
    return cluster.objects[ROLLOUTS.plural, NAMESPACE, "v2"]["spec"].get("attempt", 1)


def test_rearm_raises_the_attempt_by_one_after_each_rollback(cluster: Cluster) -> None:
    for number in (2, 3):
        rolled_back(cluster)
        result = command("rearm", "v2")
        assert (result.exit_code, attempt(cluster)) == (0, number)
        assert f"v2: attempt {number} may start at 20" in result.stdout
        cluster.goes_on(timedelta(hours=3), spec=spec(attempt=number))
        cluster.goes_on()
        assert phase(cluster) is Phase.PROGRESSING


def test_rearm_said_twice_is_as_said_once(cluster: Cluster) -> None:
    rolled_back(cluster)
    assert [said("rearm", "v2")["written"], said("rearm", "v2")["written"]] == [True, False]
    assert attempt(cluster) == 2


def test_rearm_goes_beyond_an_attempt_that_was_raised_before_the_rollback_and_used_up_by_it(cluster: Cluster) -> None:
    asyncio.run(cluster.patch(ROLLOUTS, NAMESPACE, "v2", {"spec": {"attempt": 2}}))
    cluster.goes_on(spec=spec(attempt=2))
    rolled_back(cluster)
    assert (said("rearm", "v2")["attempt"], attempt(cluster)) == (3, 3)


def test_rearm_of_what_was_not_rolled_back_is_refused_with_what_to_do(cluster: Cluster) -> None:
    result = command("rearm", "v2")
    assert "v2: it is Progressing, and only what was rolled back starts again" in str(result.exception)
    assert attempt(cluster) == 1


def test_rearm_only_tells_the_number_for_those_whose_spec_is_gits(cluster: Cluster) -> None:
    rolled_back(cluster)
    result = command("rearm", "v2", "--dry-run")
    assert "attempt 2 may start" in result.stdout
    assert "nothing was written" in result.stdout
    assert attempt(cluster) == 1


def test_rearm_reads_again_when_somebody_wrote_in_between(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    rolled_back(cluster)
    read = cluster.get

    async def get(resource: Any, namespace: str, name: str) -> dict[str, Any]:
        found = await read(resource, namespace, name)
        if not annotations(cluster).get("somebody"):
            await cluster.patch(ROLLOUTS, NAMESPACE, "v2", {"metadata": {"annotations": {"somebody": "was here"}}})
        return found

    monkeypatch.setattr(cluster, "get", get)
    assert (command("rearm", "v2").exit_code, attempt(cluster)) == (0, 2)


@pytest.mark.parametrize("verb", [*(verb.__name__ for verb in VERBS), "rearm"])
def test_the_help_of_a_verb_has_an_example(verb: str) -> None:
    assert f"Example: orchestrator rollout {verb} v2" in CliRunner().invoke(app, [verb, "--help"]).stdout


def test_status_shows_window_alarms_and_power(cluster: Cluster) -> None:
    cluster.goes_on(
        spec=spec(windows={"timeZone": "America/Sao_Paulo", "promote": ["Mon-Thu 09:00-17:00"]}),
        found={
            "alarms": (Alarm("SampleRatioMismatch", "V2 got 9 %"),),
            "power": Power(4.0, "shows only about 4"),
        },
    )
    shown = command("status", "v2").stdout
    assert "window: closed until Mon 2026-03-02 09:00 America/Sao_Paulo\n" in shown
    assert "alarm SampleRatioMismatch: V2 got 9 %\n" in shown
    assert "NotPowered: shows only about 4\n" in shown


def test_history_tells_who_did_what(cluster: Cluster) -> None:
    command("pause", "v2", "--reason", "lunch")
    lines = command("history", "v2").stdout.splitlines()
    assert lines[-1].startswith("2026-03-01T12:00:00+00:00 Pause (Paused, person (annotation orchestrator.dev/pause)):")
    assert "lunch" in lines[-1]


def test_history_as_json_has_every_decision(cluster: Cluster) -> None:
    cluster.goes_on(cohorts=cohorts(DOWN))
    assert [item["action"] for item in json.loads(command("history", "v2", "-o", "json").stdout)] == ["Start", "Hold"]
