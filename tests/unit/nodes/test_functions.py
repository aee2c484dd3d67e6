from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from orchestrator import functions
from orchestrator.errors import InvalidInput, StepError

if TYPE_CHECKING:
    from pathlib import Path


def one() -> int:
    return 1


def test_a_function_is_known_by_its_module_and_name() -> None:
    registry = functions.Functions()
    registry.register(one)
    assert registry.lookup(f"{__name__}:one") is one


def test_a_function_may_have_a_name_of_its_own() -> None:
    registry = functions.Functions()
    registry.register(one, "charge")
    assert registry.names() == ("charge",)


def test_a_name_belongs_to_one_function() -> None:
    registry = functions.Functions()
    registry.register(one, "charge")
    with pytest.raises(ValueError, match="two functions want the name 'charge'"):
        registry.register(lambda: 2, "charge")


def test_a_builtin_that_hides_its_parameters_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no signature"):
        functions.Functions().register(threading.get_ident, "id")


def test_an_unregistered_function_is_refused_with_what_to_do() -> None:
    registry = functions.Functions()
    registry.register(one, "charge")
    with pytest.raises(StepError, match=r"registered: charge\); decorate it with") as caught:
        registry.lookup("refund")
    assert (caught.value.kind, caught.value.retryable) == ("FunctionNotRegistered", True)


def test_loading_a_module_registers_its_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices_for_test.py").write_text(
        "from orchestrator.functions import function\n"
        "@function\ndef total(a): return a\n"
        "@function(name='short')\ndef other(): return 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(functions, "REGISTRY", functions.Functions())
    functions.load(["prices_for_test"])
    assert functions.lookup("prices_for_test:total")(3) == 3
    assert functions.lookup("short")() == 2
    assert sys.modules.pop("prices_for_test")


def test_every_module_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        functions.load(["no_such_module_a", "json", "no_such_module_b"])
    assert [problem.path for problem in caught.value.problems] == ["no_such_module_a", "no_such_module_b"]
