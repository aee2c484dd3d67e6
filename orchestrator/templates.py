"""Text with `${ … }` in it: where the expressions begin and end. What is inside is for expressions.py.

    "${input.shop}/reserve"   text with one expression
    "${input.amount}"         one whole expression: its value keeps its type
    "costs $${5}"             an escape: the text `costs ${5}`

The scanner knows CEL's strings, raw strings, comments and braces, so that `${ {"a": "}"}.a }` ends where its author
meant it to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_RAW_PREFIX = re.compile(r"(?:^|[^A-Za-z0-9_])(?:[rR]|[bB][rR])$")


class TemplateSyntaxError(ValueError):
    """A `${` without its `}`, or with nothing between them."""


@dataclass(frozen=True, slots=True)
class Expression:
    """The CEL text between `${` and `}`, without the blanks around it."""

    text: str


@dataclass(frozen=True, slots=True)
class Template:
    """A string taken apart: literal texts and expressions in their order."""

    parts: tuple[str | Expression, ...]

    @property
    def whole(self) -> Expression | None:
        """The expression, if the string is nothing but this one: its value then keeps its type."""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], Expression) else None

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(part for part in self.parts if isinstance(part, Expression))


@lru_cache(maxsize=8192)
def parse(text: str) -> Template:
    """Take a string apart; raises TemplateSyntaxError."""
    parts: list[str | Expression] = []
    literal: list[str] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        if start > at and text[start - 1] == "$":  # `$${` stands for the two characters themselves
            literal.append(text[at : start - 1] + "${")
            at = start + 2
            continue
        end = _end_of_expression(text, start + 2)
        literal.append(text[at:start])
        if joined := "".join(literal):
            parts.append(joined)
        literal = []
        expression = text[start + 2 : end].strip()
        if not expression:
            raise TemplateSyntaxError(f"nothing stands between ${{ and }} at character {start + 1}")
        parts.append(Expression(expression))
        at = end + 1
    literal.append(text[at:])
    if (joined := "".join(literal)) or not parts:
        parts.append(joined)
    return Template(tuple(parts))


def is_template(value: object) -> bool:
    """Whether a value is a string with at least one expression; a broken one counts, for it was meant to be one."""
    if not isinstance(value, str) or "${" not in value:
        return False
    try:
        return bool(parse(value).expressions)
    except TemplateSyntaxError:
        return True


def _end_of_expression(text: str, start: int) -> int:
    """The index of the `}` that closes an expression which begins at `start`."""
    depth, at = 0, start
    while at < len(text):
        character = text[at]
        if character in "\"'":
            at = _end_of_string(text, at, start)
            continue
        if text.startswith("//", at):  # a comment reaches to the end of its line
            newline = text.find("\n", at)
            at = len(text) if newline < 0 else newline + 1
            continue
        if character == "{":
            depth += 1
        elif character == "}":
            if depth == 0:
                return at
            depth -= 1
        at += 1
    raise TemplateSyntaxError(
        f"the ${{ at character {start - 1} has no closing }} (write $${{ for the two characters themselves)"
    )


def _end_of_string(text: str, at: int, start: int) -> int:
    """The index after a CEL string that begins at `at`; the end of the text if it is never closed."""
    quote = text[at] * 3 if text.startswith(text[at] * 3, at) else text[at]
    raw = _RAW_PREFIX.search(text[max(start, at - 3) : at]) is not None
    at += len(quote)
    while at < len(text):
        if text[at] == "\\" and not raw:
            at += 2
        elif text.startswith(quote, at):
            return at + len(quote)
        else:
            at += 1
    return at
