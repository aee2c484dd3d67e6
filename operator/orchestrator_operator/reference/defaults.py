"""A spec's defaults and words by the path of their field, which a structural schema does not hold."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from orchestrator import durations

if TYPE_CHECKING:
    from collections.abc import Mapping

_ISO: Final = re.compile(r"^-?P(?=.)[0-9DTHMS.]*$")  # how pydantic writes a length of time
_DURATION: Final = TypeAdapter(timedelta)
_LONGEST: Final = 60  # characters that fit into a table; longer ones stand in the page's example


@dataclass(frozen=True, slots=True)
class Defaults:
    """Of a pydantic model's JSON Schema."""

    schema: Mapping[str, Any]

    def at(self, path: str) -> str:
        """The default of `spec.analysis.ages`, as one would write it; empty if there is none."""
        value = self._found(path).get("default")
        shown = "" if value is None or isinstance(value, dict) else _shown(value)
        return shown if len(shown) <= _LONGEST else ""

    def words(self, path: str) -> tuple[str, ...]:
        """The words that a field may be, if it is one of a few."""
        return tuple(map(str, self._resolved(self._found(path)).get("enum", ())))

    def _found(self, path: str) -> Mapping[str, Any]:
        """The field's own schema, not resolved; nothing for a path that leads into free JSON."""
        member: Mapping[str, Any] = self.schema
        for name in path.split(".")[1:]:
            if member.get("type") == "array" or "items" in self._resolved(member):
                member = self._resolved(member).get("items", {})
            member = self._resolved(member).get("properties", {}).get(name.removesuffix("[]"), {})
        return member

    def _resolved(self, member: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a reference, or the one thing that something optional may be, stands for."""
        while True:
            options = [one for one in member.get("anyOf", ()) if one.get("type") != "null"]
            if "$ref" in member:
                member = self.schema["$defs"][member["$ref"].rsplit("/", 1)[-1]]
            elif len(options) == 1:
                member = options[0]
            else:
                return member


def _shown(value: Any) -> str:
    match value:
        case str() if _ISO.match(value):
            return durations.show(_DURATION.validate_python(value))
        case str():
            return value
        case list():
            return f"[{', '.join(map(_shown, value))}]" if all(isinstance(one, str) for one in value) else ""
        case _:
            return json.dumps(value)
