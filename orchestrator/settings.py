"""Settings of the engine's processes, from the environment, each checked at the border.

A cluster sets them as environment variables; the command line's options come first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.engines.v1_http import settings as v1_http_settings
from orchestrator.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engines.v1_http.settings import V1HttpSettings

_SHORTEST_RETENTION = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, with one sentence; the environment variable is the name in capitals behind `ORCHESTRATOR_`."""

    database: str = "./orchestrator.db"  # a path, sqlite:///… or postgresql://…
    schema: str = "public"  # PostgreSQL's schema for our tables
    http_allow: str = ""  # hosts and CIDRs that HTTP nodes may reach although they are not public
    secrets: str = ""  # the folder of mounted Secrets, <namespace>/<name>/<key>; empty: nodes get none
    functions: str = ""  # modules that register python functions, separated by commas
    v1: str = "builtin"  # off | builtin | http
    concurrency: int = 200  # executions of each engine that a worker holds at once
    lease: timedelta = timedelta(seconds=15)  # how long a dead worker's executions wait for another
    patience: timedelta = timedelta(seconds=10)  # with a PostgreSQL that does not answer: then it is asked anew
    tracing: str = "off"  # off | on: spans by OpenTelemetry, with the extra orchestrator[otel] (docs/tracing.md)
    retention: timedelta | None = None  # executions that ended so long ago are dropped with their events; off: none
    v1_http: V1HttpSettings | None = None  # with v1=http: ORCHESTRATOR_V1_…, each with its sentence over there

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """The settings of this process; raises InvalidInput that names every wrong variable."""
        source = os.environ if environment is None else environment
        values: dict[str, object] = {}
        problems: list[Problem] = []
        for field in fields(cls):
            if field.name == "v1_http":
                continue
            name = f"ORCHESTRATOR_{field.name.upper()}"
            text = source.get(name)
            if not text:
                continue
            try:
                values[field.name] = _read(field.name, text)
            except ValueError as error:
                problems.append(Problem(name, str(error)))
        if values.get("v1") == "http":
            try:
                values["v1_http"] = v1_http_settings.read(source)
            except InvalidInput as error:
                problems += error.problems
        if problems:
            raise InvalidInput(problems)
        return cls(**values)  # type: ignore[arg-type]  # each was read by its own field's rule


def _read(name: str, text: str) -> object:
    match name:
        case "concurrency":
            number = int(text) if text.isdigit() else 0
            if not 1 <= number <= 10_000:  # noqa: PLR2004 — the bounds stand in the message
                raise ValueError(f"{text!r} is not a whole number from 1 to 10000")
            return number
        case "lease" | "patience":
            return durations.parse(text)
        case "retention":
            kept = None if text == "off" else durations.parse(text)
            if kept is not None and kept < _SHORTEST_RETENTION:
                raise ValueError(f"{text!r} is shorter than 1h: what ended just now is still looked for; or say off")
            return kept
        case "tracing" if text not in ("off", "on"):
            raise ValueError(f"{text!r} is not off or on")
        case "v1" if text not in ("off", "builtin", "http"):
            raise ValueError(f"{text!r} is not off, builtin or http")
        case _:
            return text
