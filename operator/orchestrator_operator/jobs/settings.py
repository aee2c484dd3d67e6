"""What containers may be and get: environment variables of the workers, each with its one sentence here.

Allow-lists are the administrator's word against the author's: whoever may write a workflow could else hand any Secret
of the namespace to an image of their own.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final, get_type_hints

from orchestrator import durations
from orchestrator.errors import InvalidInput, Problem
from orchestrator.settings import Described, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "ORCHESTRATOR_CONTAINER_"
_ENTRY = re.compile(r"[a-z0-9-]+/[a-z0-9.-]*\*?")
_LONGEST_KEPT = timedelta(days=30)
Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Every setting; its variable is its name in capitals behind `ORCHESTRATOR_CONTAINER_`."""

    images: Annotated[
        Names, "Images that containers may be, by the beginning of their names up to a /, : or @; empty: any."
    ] = ()
    secrets: Annotated[
        Names, "Secrets that containers may be given: namespace/name, with * at the end for all that begin so."
    ] = ()
    accounts: Annotated[Names, "Service accounts that containers may have, likewise."] = ()
    claims: Annotated[Names, "PersistentVolumeClaims that containers may mount, likewise."] = ()
    grace: Annotated[
        timedelta, "How long an image may be impossible to pull, or a container to start, before its step fails."
    ] = timedelta(minutes=2)
    kept: Annotated[timedelta, "How long a Job is kept after its end, so that a worker can still read it."] = timedelta(
        hours=1
    )

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> JobSettings:
        """The settings of this process; raises InvalidInput that names every wrong variable."""
        source = os.environ if environment is None else environment
        values: dict[str, object] = {}
        problems: list[Problem] = []
        for field in fields(cls):
            name = variable(field.name)
            if not (text := source.get(name)):
                continue
            try:
                values[field.name] = _read(field.name, text)
            except ValueError as error:
                problems.append(Problem(name, str(error)))
        if problems:
            raise InvalidInput(problems)
        return cls(**values)  # type: ignore[arg-type]  # each was read by its own field's rule


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def described() -> tuple[Described, ...]:
    """Every setting, for the reference."""
    hints = get_type_hints(JobSettings, include_extras=True)
    return tuple(
        Described(variable(field.name), "" if field.default == () else shown(field.default), meaning)
        for field in fields(JobSettings)
        for meaning in hints[field.name].__metadata__
    )


def _read(name: str, text: str) -> object:
    if name in ("grace", "kept"):
        found = durations.parse(text)
        if name == "kept" and found > _LONGEST_KEPT:
            raise ValueError(f"{text!r} is longer than 30d")
        return found
    entries = tuple(entry for part in text.split(",") if (entry := part.strip()))
    if name != "images":
        for entry in entries:
            if not _ENTRY.fullmatch(entry):
                raise ValueError(f"{entry!r} is not namespace/name, or namespace/beginning*")
    return entries
