"""A sheet of characters to draw on: braille dots where the terminal has them, plain characters elsewhere. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_BRAILLE = 0x2800
# The bit of the dot in column x and row y of one braille character (two by four dots).
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))

Cell = tuple[str, str]  # one character, and the style that it is to have


class Sheet:
    """So many columns and rows of characters; places are fractions from 0 (left, bottom) to 1 (right, top)."""

    def __init__(self, columns: int, rows: int, *, unicode: bool) -> None:
        self._columns, self._rows, self._unicode = columns, rows, unicode
        self._dots = [[0] * columns for _ in range(rows)]
        self._cells: list[list[Cell]] = [[(" ", "")] * columns for _ in range(rows)]

    def line(self, points: Iterable[tuple[float, float]], style: str) -> None:
        """Points in the order of x, joined. A later line covers an earlier one where both go."""
        wide, high = (2, 4) if self._unicode else (1, 1)
        width, height = self._columns * wide - 1, self._rows * high - 1
        before: tuple[int, int] | None = None
        for fx, fy in points:
            x, y = round(_within(fx) * width), round((1 - _within(fy)) * height)
            x0, y0 = before or (x, y)
            steps = max(abs(x - x0), abs(y - y0), 1)
            for n in range(steps + 1):
                self._dot(x0 + round((x - x0) * n / steps), y0 + round((y - y0) * n / steps), style)
            before = (x, y)

    def across(self, fy: float, style: str) -> None:
        """A dashed line at one height, behind what was drawn."""
        row, mark = self.row(fy), "╌" if self._unicode else "-"
        for column, (character, _) in enumerate(self._cells[row]):
            if character == " ":
                self._cells[row][column] = (mark, style)

    def shade(self, begin: float, end: float, style: str) -> None:
        """A time that is shaded, behind what was drawn; at least one column."""
        first, mark = self.column(begin), "░" if self._unicode else ":"
        for row in self._cells:
            for column in range(first, max(self.column(end), first) + 1):
                if row[column][0] == " ":
                    row[column] = (mark, style)

    def column(self, fx: float) -> int:
        """The column that a fraction of the width lies in."""
        return min(int(_within(fx) * self._columns), self._columns - 1)

    def row(self, fy: float) -> int:
        """The row, from the top, that a fraction of the height lies in."""
        return min(int((1 - _within(fy)) * self._rows), self._rows - 1)

    def rows(self) -> list[list[Cell]]:
        """The sheet, row by row from the top."""
        return [list(row) for row in self._cells]

    def _dot(self, x: int, y: int, style: str) -> None:
        if not self._unicode:
            self._cells[y][x] = ("*", style)
            return
        column, row = x // 2, y // 4
        self._dots[row][column] |= _DOTS[x % 2][y % 4]
        self._cells[row][column] = (chr(_BRAILLE + self._dots[row][column]), style)


def _within(fraction: float) -> float:
    return min(max(fraction, 0.0), 1.0)
