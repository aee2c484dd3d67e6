"""docs/testing.md: every example runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "testing.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def claims_of(example: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "docs/testing.md", "exec"), names)  # noqa: S102 - our own text, as its readers would run it
    return {name: value for name, value in names.items() if name.startswith("test_")}


CLAIMS = {name: test for example in EXAMPLES for name, test in claims_of(example).items()}


def test_every_example_makes_a_claim() -> None:
    assert all(claims_of(example) for example in EXAMPLES)


@pytest.mark.parametrize("claim", CLAIMS)
def test_an_example_holds(claim: str) -> None:
    CLAIMS[claim]()


def test_every_call_of_the_bench_is_described() -> None:
    from orchestrator.testing import Bench

    public = {name for name in vars(Bench) if not name.startswith("_")} - {"close"}
    assert {name for name in public if f"{name}(" not in TEXT and f"`{name}`" not in TEXT} == set()
