"""Which database SQL is written for."""

from __future__ import annotations

from enum import StrEnum


class Dialect(StrEnum):
    """The databases that a store may be."""

    POSTGRESQL = "postgresql"
    SQLITE = "sqlite"
