from __future__ import annotations

from tests.benchmarks.rollout import rival_page


def test_the_published_tables_are_what_was_measured() -> None:
    published = rival_page.PAGE.read_text(encoding="utf-8")
    assert rival_page.current() == published, "run `make bench WHAT=page`"
