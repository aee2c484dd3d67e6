"""`orchestrator route`: the contract's vectors, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Shell

# Frozen for ever: the first 8 bytes of SHA-256("USE_ORCHESTRATOR_V2:" + key), big-endian, mod 10000 (sha256sum, bc).
BUCKETS = {
    "a": 5819,
    "order-1": 6836,
    "3f2a9c1e-7b54-4e0d-9a6f-1c2d3e4f5a6b": 9040,
    "ação": 8322,
    "客户-42": 2348,
    "tenant/7": 941,
    "with space": 2196,
    "9999": 78,
}


@pytest.mark.parametrize("percent", ["0", "0.78", "0.79", "9.41", "9.42", "25", "58.19", "58.2", "99.99", "100"])
def test_each_key_gets_a_line_with_its_engine(shell: Shell, percent: str) -> None:
    limit = round(float(percent) * 100)
    answer = shell("route", *BUCKETS, "--percent", percent)
    assert answer.code == 0
    assert answer.out.splitlines() == [f"{key} {'v2' if bucket < limit else 'v1'}" for key, bucket in BUCKETS.items()]


@pytest.mark.parametrize("percent", ["101", "-1", "1e2", "12.345", "50%", "", "NaN", "\u0661\u0660"])
def test_a_percent_that_no_router_could_read_is_bad_input(shell: Shell, percent: str) -> None:
    answer = shell("route", "a", f"--percent={percent}")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: --percent: ")


@pytest.mark.parametrize("arguments", [["--percent", "5"], ["a"]])
def test_keys_and_a_percent_are_needed(shell: Shell, arguments: list[str]) -> None:
    assert shell("route", *arguments).code == 2
