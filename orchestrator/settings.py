"""Settings of the engine's processes, from the environment, each checked at the border.

A cluster sets them as environment variables; the command line's options come first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, get_type_hints

from orchestrator import durations
from orchestrator.engines.v1_http import settings as v1_http_settings
from orchestrator.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHORTEST_RETENTION = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Described:
    """A setting as people read of it: its environment variable, its default as one would write it, one sentence."""

    variable: str
    default: str
    meaning: str
    words: tuple[str, ...] = ()  # if it is one of a few


def shown(value: object) -> str:
    """A setting's value as one would write it into its variable."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case timedelta():
            return durations.show(value)
        case _:
            return str(value)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, with one sentence that the reference prints, too. Its environment variable is its name in capitals
    behind `ORCHESTRATOR_`.
    """

    database: Annotated[str, "The store: a path, sqlite:///… or postgresql://user:password@host/name."] = (
        "./orchestrator.db"
    )
    schema: Annotated[str, "PostgreSQL's schema for our tables."] = "public"
    http_allow: Annotated[str, "Hosts and CIDRs that HTTP nodes may reach although they are not public."] = ""
    secrets: Annotated[str, "The folder of mounted Secrets, namespace/name/key; empty: nodes get none."] = ""
    secret_namespaces: Annotated[
        str, "Namespaces whose executions get Secrets, separated by commas; empty: all that are mounted."
    ] = ""
    functions: Annotated[str, "Modules that register python functions, separated by commas."] = ""
    v1: Annotated[str, "The legacy engine: off (everything runs on V2), builtin or http."] = "builtin"
    containers: Annotated[str, "What runs container nodes: off, or kubernetes (as Jobs)."] = "off"
    concurrency: Annotated[int, "Executions of each engine that a worker holds at once."] = 200
    lease: Annotated[timedelta, "How long a dead worker's executions wait for another."] = timedelta(seconds=15)
    patience: Annotated[timedelta, "With a database that does not answer: then it is asked anew."] = timedelta(
        seconds=10
    )
    retention: Annotated[
        timedelta | None, "Executions that ended so long ago are dropped with their events; off: none are."
    ] = None
    tracing: Annotated[str, "Spans by OpenTelemetry, with the extra `otel`: off or on."] = "off"
    # With v1=http: ORCHESTRATOR_V1_…, each with its sentence over there.
    v1_http: v1_http_settings.V1HttpSettings | None = None

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """The settings of this process; raises InvalidInput that names every wrong variable."""
        source = os.environ if environment is None else environment
        values: dict[str, object] = {}
        problems: list[Problem] = []
        for field in fields(cls):
            if field.name == "v1_http":
                continue
            name = _variable(field.name)
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


_NONE = {"retention": "off"}  # how None is written


def _variable(name: str) -> str:
    return f"ORCHESTRATOR_{name.upper()}"


def described() -> tuple[Described, ...]:
    """Every setting of the engine's processes; those of V1 over HTTP stand behind the others."""
    hints = get_type_hints(Settings, include_extras=True)
    own = [
        Described(_variable(field.name), shown(field.default) or _NONE.get(field.name, ""), meaning)
        for field in fields(Settings)
        for meaning in getattr(hints[field.name], "__metadata__", ())
    ]
    return (*own, *(Described(*one) for one in v1_http_settings.described(shown)))


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
        case "containers" if text not in ("off", "kubernetes"):
            raise ValueError(f"{text!r} is not off or kubernetes")
        case "tracing" if text not in ("off", "on"):
            raise ValueError(f"{text!r} is not off or on")
        case "v1" if text not in ("off", "builtin", "http"):
            raise ValueError(f"{text!r} is not off, builtin or http")
        case _:
            return text
