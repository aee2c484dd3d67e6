"""Whether the watch still tells what the lists show."""

from __future__ import annotations

from typing import Any

from orchestrator_operator.heard import Heard


def body(uid: str, version: str) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "name": f"name-of-{uid}", "resourceVersion": version}}


def test_a_watch_that_told_everything_is_not_silent() -> None:
    heard = Heard()
    heard.note("ADDED", body("a", "1"))
    assert heard.silent([body("a", "1")]) == []
    assert heard.silent([body("a", "1")]) == []


def test_a_change_of_a_moment_ago_is_given_time() -> None:
    heard = Heard()
    assert heard.silent([body("a", "1")]) == []
    heard.note("ADDED", body("a", "1"))
    assert heard.silent([body("a", "1")]) == []


def test_what_two_lists_show_and_the_watch_never_told_is_named() -> None:
    heard = Heard()
    heard.silent([body("a", "1")])
    assert heard.silent([body("a", "1")]) == ["name-of-a"]


def test_an_object_that_changes_all_the_time_hides_no_silence() -> None:
    heard = Heard()
    heard.note("ADDED", body("a", "1"))
    heard.silent([body("a", "2")])
    assert heard.silent([body("a", "3")]) == ["name-of-a"]


def test_a_watch_that_is_late_and_goes_on_is_not_silent() -> None:
    heard = Heard()
    heard.silent([body("a", "2")])
    heard.note("ADDED", body("a", "2"))
    assert heard.silent([body("a", "3")]) == []


def test_what_was_deleted_is_forgotten() -> None:
    heard = Heard()
    heard.note("ADDED", body("a", "1"))
    heard.note("DELETED", body("a", "2"))
    assert heard._told == {}
