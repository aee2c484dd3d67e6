"""The part of PromQL that a counter of a user's own may be: a plain vector selector with `$engine` in a matcher.

A strict grammar on purpose: the analysis reads raw samples, series by series, so that a reset is seen where it happens.
A function, an aggregation, an offset or a range would hide that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PLACE = "$engine"
EXAMPLE = 'shop_refunds_total{engine="$engine"}'

_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*")
_MATCHER = re.compile(
    r"""\s*(?P<label>[a-zA-Z_][a-zA-Z0-9_]*)\s*(?P<operator>=~|!~|!=|=)\s*
    (?P<value>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)\s*""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label; `value` stands in its quotes, as it was written."""

    label: str
    operator: str  # = | != | =~ | !~
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric's name and the conditions on its labels."""

    name: str
    matchers: tuple[Matcher, ...]

    @property
    def by_engine(self) -> bool:
        """Whether it selects another set of series for each engine."""
        return any(PLACE in matcher.value and matcher.operator in ("=", "=~") for matcher in self.matchers)


def parse_selector(text: str) -> Selector:
    """Read `name{label="value",…}`; raises ValueError that says what stands where no selector has anything."""
    named = _NAME.match(text)
    if named is None:
        raise ValueError(f"begins with no metric's name: write a plain selector such as {EXAMPLE}")
    name, place = named[1], named.end()
    if place == len(text):
        return Selector(name, ())
    if text[place] != "{":
        raise ValueError(_unexpected(text, place))
    matchers, place = _matchers(text, place + 1)
    if text[place:].strip():
        raise ValueError(_unexpected(text, place))
    return Selector(name, matchers)


def _matchers(text: str, place: int) -> tuple[tuple[Matcher, ...], int]:
    """The matchers up to the closing brace, and the place behind it. A comma may stand behind the last one."""
    found: list[Matcher] = []
    while (matcher := _MATCHER.match(text, place)) is not None:
        if matcher["label"] == "__name__":
            raise ValueError("names the metric twice: leave __name__ out")
        found.append(Matcher(matcher["label"], matcher["operator"], matcher["value"]))
        place = matcher.end()
        if text[place : place + 1] != ",":
            break
        place += 1
    rest = text[place:]
    place += len(rest) - len(rest.lstrip())
    if text[place : place + 1] != "}":
        raise ValueError(_unexpected(text, place))
    return tuple(found), place + 1


def _unexpected(text: str, place: int) -> str:
    rest = text[place:].strip()
    if not rest:
        return "ends before its brace is closed"
    return f"has {rest[:20]!r}, but it must be a plain selector such as {EXAMPLE}: no function, offset or range"
