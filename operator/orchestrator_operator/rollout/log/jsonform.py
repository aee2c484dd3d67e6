"""The controller's frozen values as JSON and back, exactly. Pure.

It follows the declarations of the values, so that a field that is added to them is not forgotten here.

    dataclass             {"field": …}; a field at its default is left out
    one of several types  a dataclass bears its name beside its fields, as "$"
    pydantic model        as a document spells it, without what is not set
    Mapping               an object where its keys are text, else a list of [key, value]
    tuple                 a list
    Decimal               text
    datetime, timedelta   RFC 3339 in UTC to a microsecond; seconds
    inf and nan           text: JSON has no such numbers
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from orchestrator.errors import Problem
from orchestrator.flag import FlagSnapshot, FlagValues
from orchestrator_operator.rollout.statistics.evidence import Cell, Cells
from orchestrator_operator.specs.rollout import Criterion, RolloutSpec
from orchestrator_operator.specs.rollout_status import Decision, RolloutStatus, Verdict

# What the declarations mean by names that their modules import for the type checker alone.
_NAMES: Final = {
    kind.__name__: kind
    for kind in (
        *(Cell, Criterion, Decimal, Decision, FlagSnapshot, FlagValues, Mapping, Problem, RolloutSpec, RolloutStatus),
        *(Verdict, datetime, timedelta),
    )
} | {"Cells": Cells}
_NAME = "$"
_UNIONS = (Union, UnionType)


def dump(value: Any, kind: Any = None) -> Any:
    """A value as JSON, by the type that it is declared with; None: its own."""
    kind = kind or type(value)
    if get_origin(kind) in _UNIONS:
        return _dump_one_of(value, kind)
    if _is_record(kind):
        return {
            name: dump(getattr(value, name), declared)
            for name, declared, default in declarations(kind)
            if default is MISSING or getattr(value, name) != default
        }
    match value:
        case BaseModel():
            return value.model_dump(mode="json", by_alias=True, exclude_none=True)
        case Mapping():
            key_kind, member_kind = get_args(kind)
            pairs = [[dump(key, key_kind), dump(member, member_kind)] for key, member in value.items()]
            return dict(pairs) if key_kind is str else pairs
        case tuple():
            return [dump(member, declared) for member, declared in zip(value, _members(kind, value), strict=True)]
        case _:
            return _dump_plain(value)


def load(raw: Any, kind: Any) -> Any:
    """What `dump` made of a value of that type. Raises ValueError, KeyError or TypeError if it is something else."""
    origin = get_origin(kind)
    if origin in _UNIONS:
        return _load_one_of(raw, kind)
    if _is_record(kind):
        return _load_fields(raw, kind)
    if origin is Mapping:
        key_kind, member_kind = get_args(kind)
        pairs = raw.items() if key_kind is str else raw
        return {load(key, key_kind): load(member, member_kind) for key, member in pairs}
    if origin is tuple:
        return tuple(load(member, declared) for member, declared in zip(raw, _members(kind, raw), strict=True))
    return _load_plain(raw, kind)


@functools.cache
def declarations(kind: type) -> tuple[tuple[str, Any, Any], ...]:
    """The fields of a dataclass: name, type, default (MISSING: it has none). Raises NameError for an unknown type."""
    hints = get_type_hints(kind, localns=_NAMES)
    return tuple(
        (f.name, hints[f.name], f.default_factory() if f.default_factory is not MISSING else f.default)
        for f in fields(kind)
    )


def _is_record(kind: Any) -> bool:
    return is_dataclass(kind)


def _dump_plain(value: Any) -> Any:
    match value:
        case StrEnum():
            return value.value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case timedelta():
            return value.total_seconds()
        case None | bool() | int() | str():
            return value
        case _:
            raise TypeError(f"no JSON form for a {type(value).__name__}")


def _load_plain(raw: Any, kind: Any) -> Any:
    if kind is datetime:
        return datetime.fromisoformat(raw)
    if kind is timedelta:
        return timedelta(seconds=raw)
    if kind in (float, Decimal) or issubclass(kind, StrEnum):
        return kind(raw)
    if issubclass(kind, BaseModel):
        return kind.model_validate(raw)
    if not isinstance(raw, kind):
        raise TypeError(f"{raw!r} is no {kind.__name__}")
    return raw


def _load_fields(raw: Mapping[str, Any], kind: type) -> Any:
    known = {name: declared for name, declared, _ in declarations(kind)}
    if strange := raw.keys() - known.keys() - {_NAME}:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(strange))}: written by a newer version?")
    return kind(**{name: load(value, known[name]) for name, value in raw.items() if name != _NAME})


def _dump_one_of(value: Any, kind: Any) -> Any:
    if value is None:
        return None
    arms = _arms(kind)
    arm = next(arm for arm in arms if isinstance(value, get_origin(arm) or ((int, float) if arm is float else arm)))
    raw = dump(value, arm)
    return {_NAME: arm.__name__, **raw} if len(arms) > 1 and _is_record(arm) else raw


def _load_one_of(raw: Any, kind: Any) -> Any:
    if raw is None:
        return None
    arms = _arms(kind)
    if len(arms) > 1 and isinstance(raw, Mapping) and _NAME in raw:
        return load(raw, next(arm for arm in arms if getattr(arm, "__name__", "") == raw[_NAME]))
    (plain,) = [arm for arm in arms if len(arms) == 1 or not _is_record(arm)]
    return load(raw, plain)


def _arms(kind: Any) -> list[Any]:
    return [arm for arm in get_args(kind) if arm is not NoneType]


def _members(kind: Any, values: Any) -> tuple[Any, ...]:
    """The declared type of each member of a tuple."""
    declared = get_args(kind)
    return (declared[0],) * len(values) if declared[1:] == (Ellipsis,) else declared
