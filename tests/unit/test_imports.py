"""Imports flow one way, and what is called pure neither does I/O nor asks what time it is."""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"orchestrator": ROOT / "orchestrator", "orchestrator_operator": ROOT / "operator" / "orchestrator_operator"}

# What reads and writes for the rollout. Everything else in its folder has to be pure.
ROLLOUT_SHELL = {
    *("controller", "elsewhere", "flagwatch", "known", "metrics"),
    *("acting.apply", "acting.keeping", "acting.marks", "acting.notify", "log.recorder"),
    *("reading.counted", "reading.gather", "reading.kept", "reading.own_reading"),
}
NOT_PURE = {"now", "utcnow", "today", "urandom", "getrandom"}


@cache
def contracts() -> dict[str, dict[str, Any]]:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {contract["name"]: contract for contract in config["tool"]["importlinter"]["contracts"]}


def pure_modules() -> list[str]:
    named = [contract for name, contract in contracts().items() if "clock" in name]
    return [module for contract in named for module in contract["source_modules"]]


def files_of(module: str) -> list[Path]:
    """A module's file, or all of a package's."""
    package, *parts = module.split(".")
    folder = FOLDERS[package].joinpath(*parts)
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def test_every_contract_holds() -> None:
    linter = Path(sysconfig.get_path("scripts")) / "lint-imports"
    done = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr


def is_pure(module: str) -> bool:
    return any(module == pure or module.startswith(f"{pure}.") for pure in pure_modules())


@pytest.mark.parametrize("name", ["states", "events", "fold", "decide", "retry", "model", "router"])
def test_the_core_of_the_engine_is_pure(name: str) -> None:
    assert is_pure(f"orchestrator.{name}")


def test_a_module_of_the_rollout_is_pure_unless_it_is_named_as_shell() -> None:
    folder = FOLDERS["orchestrator_operator"] / "rollout"
    names = {".".join(path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.py")}
    modules = {name for name in names if not name.endswith("__init__")} - ROLLOUT_SHELL
    assert modules
    assert not {name for name in modules if not is_pure(f"orchestrator_operator.rollout.{name}")}


@pytest.mark.parametrize("name", [name for name in contracts() if "clock" in name])
@pytest.mark.parametrize("module", ["orchestrator.store", "orchestrator.clock", "sqlalchemy", "httpx", "time"])
def test_the_pure_contracts_forbid_store_clock_and_clients(name: str, module: str) -> None:
    assert module in contracts()[name]["forbidden_modules"]


@pytest.mark.parametrize("module", pure_modules())
def test_a_pure_module_takes_the_time_as_an_argument(module: str) -> None:
    asked = [
        f"{path.name}:{call.lineno}: {ast.unparse(call)}"
        for path in files_of(module)
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in NOT_PURE
    ]
    assert not asked, f"{module} asks the clock: hand `now` in instead: {asked}"


def test_the_engine_imports_without_kubernetes() -> None:
    """The engine's CLI starts where neither kopf nor a Kubernetes client is installed."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['kopf', 'kubernetes_asyncio', 'orchestrator_operator']))\n"
        "import orchestrator.cli.run, orchestrator.cli.worker, orchestrator.cli.executions, orchestrator.cli.route"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
