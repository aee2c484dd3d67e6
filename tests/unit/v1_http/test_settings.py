"""The settings of V1 behind HTTP: each wrong one is named, none is quoted that may hold a secret."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from orchestrator import durations
from orchestrator.engines.v1_http import settings as v1
from orchestrator.engines.v1_http.words import Words
from orchestrator.errors import InvalidInput
from orchestrator.model import Status
from orchestrator.settings import Settings

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "v1.md"
GOOD = {"ORCHESTRATOR_V1_URL": "https://legacy.example/execute", "ORCHESTRATOR_V1_OUTCOME": "response"}
CALLBACK = {
    "ORCHESTRATOR_V1_OUTCOME": "callback",
    "ORCHESTRATOR_V1_CALLBACK_URL": "https://workers.example/v1",
    "ORCHESTRATOR_V1_CALLBACK_LISTEN": "0.0.0.0:8091",
    "ORCHESTRATOR_V1_CALLBACK_SECRET_FILE": __file__,
}


def wrong(environment: dict[str, str]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        v1.read(environment)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_two_settings_are_enough() -> None:
    found = v1.read(GOOD)
    assert (found.url, found.outcome, found.timeout) == (
        "https://legacy.example/execute",
        v1.Outcome.RESPONSE,
        timedelta(hours=1),
    )


def test_http_reads_them_and_nothing_else_does() -> None:
    assert Settings.read(GOOD | {"ORCHESTRATOR_V1": "http"}).v1_http == v1.read(GOOD)
    assert Settings.read({"ORCHESTRATOR_V1": "off", "ORCHESTRATOR_V1_URL": "nonsense"}).v1_http is None


def test_http_without_them_names_those_that_are_required() -> None:
    with pytest.raises(InvalidInput) as caught:
        Settings.read({"ORCHESTRATOR_V1": "http", "ORCHESTRATOR_LEASE": "soon"})
    assert [problem.path for problem in caught.value.problems] == [
        "ORCHESTRATOR_LEASE",
        "ORCHESTRATOR_V1_URL",
        "ORCHESTRATOR_V1_OUTCOME",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("URL", "legacy.example/execute"),
        ("URL", "ftp://legacy.example"),
        ("URL", "https://me:hunter22@legacy.example"),
        ("URL", "https://legacy.example/#here"),
        ("URL", "http://legacy.example"),
        ("CANCEL_URL", "http://10.0.0.1/cancel"),
        ("OUTCOME", "guess"),
        ("TIMEOUT", "1 parsec"),
        ("TIMEOUT", "0s"),
        ("POLL", "-1s"),
        ("PLAIN_HTTP", "perhaps"),
        ("TOKEN_FILE", "/no/such/file"),
        ("TOKEN_HEADER", "Idempotency-Key"),
        ("TOKEN_HEADER", "a b"),
        ("STATUSES", "ok=fine"),
        ("STATUSES", "ok"),
        ("TABLE", 'runs"; DROP TABLE runs; --'),
        ("TABLE", "a.b.c"),
        ("TABLE_ID", "id)"),
        ("TABLE_STATUS", "a" * 64),
        ("CALLBACK_URL", "workers.example"),
        ("CALLBACK_LISTEN", "8091"),
        ("CALLBACK_LISTEN", "0.0.0.0:99999"),
        ("CALLBACK_SECRET_FILE", "/no/such/file"),
    ],
)
def test_a_wrong_one_is_named_and_not_quoted(name: str, value: str) -> None:
    variable = f"ORCHESTRATOR_V1_{name}"
    found = wrong(GOOD | {variable: value})
    assert list(found) == [variable]
    assert "hunter22" not in found[variable]


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert v1.read(GOOD | {"ORCHESTRATOR_V1_TABLE": "", "ORCHESTRATOR_V1_TIMEOUT": ""}) == v1.read(GOOD)


@pytest.mark.parametrize(
    ("outcome", "missing"),
    [
        ("table", {"TABLE_DATABASE"}),
        ("callback", {"CALLBACK_URL", "CALLBACK_LISTEN", "CALLBACK_SECRET_FILE"}),
    ],
)
def test_what_an_outcome_needs_is_required(outcome: str, missing: set[str]) -> None:
    found = wrong(GOOD | {"ORCHESTRATOR_V1_OUTCOME": outcome})
    assert set(found) == {f"ORCHESTRATOR_V1_{name}" for name in missing}
    assert all(f"ORCHESTRATOR_V1_OUTCOME={outcome}" in message for message in found.values())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://[::1]/x", "http://localhost/x"])
def test_this_machine_needs_no_tls(url: str) -> None:
    assert v1.read(GOOD | {"ORCHESTRATOR_V1_URL": url}).url == url


def test_plain_http_has_to_be_asked_for() -> None:
    given = GOOD | {"ORCHESTRATOR_V1_URL": "http://legacy.default.svc/x"}
    assert "ORCHESTRATOR_V1_PLAIN_HTTP=true" in wrong(given)["ORCHESTRATOR_V1_URL"]
    assert v1.read(given | {"ORCHESTRATOR_V1_PLAIN_HTTP": "true"}).url == "http://legacy.default.svc/x"


@pytest.mark.parametrize("listen", ["0.0.0.0:8091", "[::]:8091", "workers:1"])
def test_an_address_to_listen_on_has_a_port(listen: str) -> None:
    given = GOOD | CALLBACK | {"ORCHESTRATOR_V1_CALLBACK_LISTEN": listen}
    assert v1.read(given).callback_listen == listen


def test_the_databases_password_is_not_shown() -> None:
    given = {"ORCHESTRATOR_V1_OUTCOME": "table", "ORCHESTRATOR_V1_TABLE_DATABASE": "postgresql://me:hunter22@db/x"}
    assert "hunter22" not in repr(v1.read(GOOD | given))


# -- status words


@pytest.mark.parametrize(
    ("word", "status"),
    [("Completed", Status.SUCCESS), (" FAILED ", Status.FAILED), ("canceled", Status.CANCELLED), ("purple", None)],
)
def test_the_usual_words_are_known(word: str, status: Status | None) -> None:
    assert Words().meaning(word) is status


def test_words_are_added_and_changed() -> None:
    words = Words.parse("OK=success, done=failed,")
    assert [words.meaning(word) for word in ("ok", "done", "completed")] == [
        Status.SUCCESS,
        Status.FAILED,
        Status.SUCCESS,
    ]


# -- the document


def shown(default: Any) -> str:
    match default:
        case timedelta():
            return f"`{durations.show(default)}`"
        case bool():
            return f"`{str(default).lower()}`"
        case _ if default is PydanticUndefined or not default:
            return "none"
        case _:
            return f"`{default}`"


def test_the_document_lists_every_setting_as_it_is() -> None:
    rows = []
    for name, info in v1.V1HttpSettings.model_fields.items():
        assert info.description
        assert info.description.endswith(".")
        default = "**required**" if info.is_required() else shown(info.default)
        described = info.description.replace("|", "\\|")
        rows.append(f"| `{v1.variable(name)}` | {default} | {described} |")
    written = DOCUMENT.read_text(encoding="utf-8").split("## Settings")[1].splitlines()
    assert [line for line in written if line.startswith("| `")] == rows


def test_the_document_lists_every_word() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").split("## Status words")[1].split("\n## ")[0]
    from orchestrator.engines.v1_http.words import KNOWN

    assert [word for word in KNOWN if f"`{word}`" not in text] == []
