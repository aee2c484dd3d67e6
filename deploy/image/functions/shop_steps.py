"""Functions that workflows call by name: `type: python`, `with: {call: "shop_steps:greet", args: {name: Ada}}`."""

from __future__ import annotations

from orchestrator.functions import function


@function
def greet(name: str) -> str:
    return f"Hello, {name}"
