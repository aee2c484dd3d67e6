"""`orchestrator operator`, and kopf as it sets it up."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestrator_operator import settings
from orchestrator_operator.cli import operator
from orchestrator_operator.specs import RESOURCES
from orchestrator_operator.watch import registry
from orchestrator_operator.watch import settings as kopf_settings
from typer.testing import CliRunner

if TYPE_CHECKING:
    import pytest


def words(*arguments: str) -> str:
    result = CliRunner().invoke(operator.app, [*arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    return " ".join(result.stdout.split())


def test_every_setting_is_an_option_with_its_variable() -> None:
    shown = words("run", "--help")
    for name in settings.fields():
        assert f"--{name.replace('_', '-')}" in shown
        assert settings.variable(name) in shown


def test_options_reach_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[settings.Settings] = []

    async def run(found: settings.Settings) -> None:
        seen.append(found)

    monkeypatch.setattr(operator, "_run", run)
    monkeypatch.setattr(operator, "configure_logs", lambda *_: None)
    words("run", "--namespace", "shop", "--v1", "off", "--schema", "flows", "--resync-interval", "5s")
    assert (seen[0].namespace, seen[0].v1, seen[0].schema_, seen[0].resync_interval) == ("shop", "off", "flows", 5.0)


def test_a_password_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE", "postgresql://me:canary@host/name")
    assert "canary" not in words("settings")


class Deaf:
    """A handler that hears nothing."""

    async def handle(self, body: Any) -> None: ...

    async def gone(self, body: Any) -> None: ...


def test_kopf_writes_nothing_of_its_own_to_any_object() -> None:
    made = registry(dict.fromkeys(RESOURCES, Deaf()), lambda *_: None)
    assert len(list(made._watching._handlers)) == len(RESOURCES)
    assert not made._changing._handlers  # they would need annotations and a finalizer
    assert not made._spawning._handlers  # a timer is a task an object
    chosen = kopf_settings(70.0)
    assert (chosen.posting.enabled, chosen.peering.standalone, chosen.scanning.disabled) == (False, True, True)


def test_the_watch_never_gives_up() -> None:
    backoffs: Any = kopf_settings(70.0).networking.error_backoffs
    for _ in range(2):  # each request counts anew
        assert list(islice(backoffs, 1000))[-1] == 5.0


def test_a_watch_that_tells_nothing_is_opened_anew() -> None:
    assert kopf_settings(12.0).watching.inactivity_timeout == 12.0
