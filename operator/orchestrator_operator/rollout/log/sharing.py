"""How the rows of the log share what they repeat, and say once what they would say twice. Pure.

What only grows (the totals of the restarts, the bins of own counters) and the spec would make every row large. So a row
names an earlier one and adds what is new: `{"$as": 7}` is what row 7 has there, `{"$as": 7, "first": 3, "then": […]}`
the first three members of that and some more. Bins that have closed stand among all bins of their counter already: of
those a row tells only from which one on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_AS = "$as"

Inputs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shared:
    """What a row has of the values that its successors may refer to, by their place in the inputs."""

    number: int
    values: Mapping[str, Any]


def shared_values(inputs: Inputs) -> dict[str, Any]:
    """The parts of the inputs that are worth sharing, by their place."""
    own = inputs.get("own") or {}
    found = {f"own/{name}": bins for name, bins in own.items()} | {key: inputs.get(key) for key in ("spec", "restarts")}
    return {place: value for place, value in found.items() if value}


def resolved(inputs: Inputs, rows: Mapping[int, Mapping[str, Any]]) -> Inputs:
    """The inputs in full, by the shared values of earlier rows. Raises KeyError if a row that is named is not there."""
    return _each_shared(inputs, lambda place, value: _whole(value, place, rows))


def shortened(inputs: Inputs, shared: Shared) -> Inputs:
    """The inputs with what an earlier row has as well put by its number."""
    return _each_shared(inputs, lambda place, value: _short(value, shared.values.get(place), shared.number))


def without_closed(inputs: Inputs) -> Inputs:
    """The inputs, whose closed bins are told by their place among all bins where they stand there."""
    return _each_closed(inputs, lambda item, own: item if own != item.get("bins") else _less(item))


def with_closed(inputs: Inputs) -> Inputs:
    """What `without_closed` was made from; the inputs' own bins must be whole."""
    return _each_closed(inputs, lambda item, own: item if "bins" in item else {**item, "bins": own})


def _each_closed(inputs: Inputs, change: Callable[[Inputs, Any], Inputs]) -> Inputs:
    if not inputs.get("closed"):
        return inputs
    own = inputs.get("own") or {}
    bins = {name: found for name, found in own.items() if isinstance(found, list)}
    return {
        **inputs,
        "closed": [change(item, bins.get(item["criterion"], [])[item["first"] :]) for item in inputs["closed"]],
    }


def _less(item: Inputs) -> Inputs:
    return {key: value for key, value in item.items() if key != "bins"}


def _each_shared(inputs: Inputs, change: Callable[[str, Any], Any]) -> Inputs:
    changed = dict(inputs)
    for place, value in shared_values(inputs).items():
        key, _, name = place.partition("/")
        if name:
            changed[key] = {**changed[key], name: change(place, value)}
        else:
            changed[key] = change(place, value)
    return changed


def _short(value: Any, before: Any, number: int) -> Any:
    if value == before:
        return {_AS: number}
    if not (isinstance(value, list) and isinstance(before, list)):
        return value
    first = next((n for n, (new, old) in enumerate(zip(value, before, strict=False)) if new != old), None)
    first = min(len(value), len(before)) if first is None else first
    return {_AS: number, "first": first, "then": value[first:]} if first else value


def _whole(value: Any, place: str, rows: Mapping[int, Mapping[str, Any]]) -> Any:
    if not (isinstance(value, dict) and _AS in value):
        return value
    before = rows[value[_AS]][place]
    return [*before[: value["first"]], *value["then"]] if "first" in value else before
