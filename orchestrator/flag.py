"""The flag `USE_ORCHESTRATOR_V2`: its three keys, what they mean, and the small port to wherever they live.

A flag that cannot be understood never raises in the router's way: it means V1, with a reason.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from orchestrator.errors import InvalidFlag, OrchestratorError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

ENABLED = "USE_ORCHESTRATOR_V2"
PERCENT = "USE_ORCHESTRATOR_V2_PERCENT"
EXPIRES = "USE_ORCHESTRATOR_V2_EXPIRES"
KEYS = (ENABLED, PERCENT, EXPIRES)

_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,2})?")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|\+00:00)")
_ALL = Decimal(100)


class FlagError(OrchestratorError):
    """Reading or writing the flag failed; FlagConflict, FlagMissing, FlagUnavailable and FlagReadOnly say how."""


class FlagConflict(FlagError):
    """Somebody else wrote the flag since it was read: read it again, then decide again."""


class FlagMissing(FlagError):
    """The home of the flag (the Secret) does not exist."""


class FlagUnavailable(FlagError):
    """The flag cannot be reached now; nothing is known about the last write: read it back."""


class FlagReadOnly(FlagError):
    """This home of the flag cannot be written by a program."""


@dataclass(frozen=True, slots=True)
class FlagValues:
    """The three keys as they stand, uninterpreted. None: the key is absent."""

    enabled: str | None = None
    percent: str | None = None
    expires: str | None = None

    @classmethod
    def of(cls, raw: Mapping[str, str]) -> FlagValues:
        """The three keys out of whatever else the mapping holds."""
        return cls(raw.get(ENABLED), raw.get(PERCENT), raw.get(EXPIRES))

    @classmethod
    def on(cls, percent: Decimal | None, expires: datetime | None) -> FlagValues:
        """`true`, with a share and an expiry where given."""
        return cls(
            "true",
            None if percent is None else show_percent(percent),
            None if expires is None else show_instant(expires),
        )

    def as_mapping(self) -> dict[str, str | None]:
        """Every key with its value, None where it is absent: what `FlagStore.write` takes."""
        return {ENABLED: self.enabled, PERCENT: self.percent, EXPIRES: self.expires}

    @property
    def clear(self) -> bool:
        """No key is left at all: what a rollback reaches."""
        return self == CLEAR


CLEAR = FlagValues()


class FlagReason(StrEnum):
    """What a flag says, in one word; also a label of `orchestrator_router_decisions_total`."""

    OFF = "FlagOff"  # absent, empty or anything but `true`
    INVALID = "InvalidFlag"  # PERCENT or EXPIRES cannot be understood
    EXPIRED = "Expired"  # EXPIRES is in the past: nobody renewed it
    PERCENT = "Percent"  # that share goes to V2
    ON = "FlagOn"  # `true` alone: everything, if its owner agrees
    UNAVAILABLE = "FlagUnavailable"  # it was never read


@dataclass(frozen=True, slots=True)
class FlagState:
    """The flag's meaning at one moment. `percent` is None unless the reason is PERCENT."""

    reason: FlagReason
    percent: Decimal | None = None
    expires: datetime | None = None
    values: FlagValues = CLEAR
    problems: tuple[Problem, ...] = ()


UNREAD = FlagState(FlagReason.UNAVAILABLE)


def parse(values: FlagValues, now: datetime) -> FlagState:
    """What the keys mean at `now`. Never raises: `problems` says what cannot be understood, the reason is InvalidFlag.

    An empty PERCENT is malformed, not absent: reading it as "everything" would be the dangerous guess.
    """
    state = FlagState(FlagReason.OFF, values=values)
    if not is_on(values):
        return state
    try:
        percent = None if values.percent is None else parse_percent(values.percent)
        expires = None if values.expires is None else parse_instant(values.expires)
    except InvalidFlag as error:
        return replace(state, reason=FlagReason.INVALID, problems=error.problems)
    if expires is not None and expires <= now:
        return replace(state, reason=FlagReason.EXPIRED, expires=expires)
    reason = FlagReason.ON if percent is None else FlagReason.PERCENT
    return replace(state, reason=reason, percent=percent, expires=expires)


def is_on(values: FlagValues) -> bool:
    """Whether the first key says `true` (in any case; surrounding blanks are not `true`)."""
    return values.enabled is not None and values.enabled.lower() == "true"


def parse_percent(text: str) -> Decimal:
    """A share of 0 to 100 with at most two places; raises InvalidFlag."""
    if _PERCENT.fullmatch(text) and (percent := Decimal(text)) <= _ALL:
        return percent
    raise InvalidFlag(
        [Problem(PERCENT, f"{text!r} is not a decimal of 0 to 100 with at most two places, such as 12.5")]
    )


def parse_instant(text: str) -> datetime:
    """An RFC 3339 instant in UTC; raises InvalidFlag."""
    upper = text.upper()  # RFC 3339 allows t and z
    if _INSTANT.fullmatch(upper):
        try:
            return datetime.fromisoformat(upper).astimezone(UTC)
        except ValueError:
            pass  # the 31st of February, say
    raise InvalidFlag([Problem(EXPIRES, f"{text!r} is not an RFC 3339 instant in UTC, such as 2026-01-31T12:00:00Z")])


def show_percent(percent: Decimal) -> str:
    """The shortest spelling, also the metric's label: `5`, `12.5`, `100`."""
    text = f"{percent:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def show_instant(moment: datetime) -> str:
    """RFC 3339 in UTC to a second."""
    return moment.astimezone(UTC).replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class FlagSnapshot:
    """The flag as it was read. `version` changes with every write to its home; "" where homes have no versions."""

    values: FlagValues = CLEAR
    version: str = ""
    managers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # key -> who wrote it last
    exists: bool = True  # False: the home itself (the Secret) is not there


class FlagStore(Protocol):
    """Where the flag lives. Another home is another class with these two methods."""

    async def read(self) -> FlagSnapshot:
        """The flag now. A missing home reads as `exists=False`; raises FlagUnavailable."""

    async def write(self, values: Mapping[str, str | None], expected_version: str) -> FlagSnapshot:
        """Set all given keys in one step (None removes one), if the home is still at `expected_version`.

        Returns what stands afterwards. Raises FlagConflict, FlagMissing, FlagUnavailable or FlagReadOnly.
        """


class EnvironmentFlagStore:
    """The flag as environment variables, for use without a cluster; read at every call, never written."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment

    async def read(self) -> FlagSnapshot:
        return FlagSnapshot(FlagValues.of(self._environment))

    async def write(self, values: Mapping[str, str | None], expected_version: str) -> FlagSnapshot:  # noqa: ARG002 - the port's signature
        raise FlagReadOnly(
            f"without a cluster the flag is set by environment variables ({', '.join(values)}): "
            "change them where this process is started",
        )
