"""What the flag should say, whether it does, and whether a person has cleared it. Pure.

The intent (what we decided, and the flag's version that we saw) is in the status before the flag is written. So after
a crash between the two: a flag that is off at the version that we saw was never written by us; a flag that is off at
another version, or off after it was seen to say what we wanted, was cleared by somebody: never set again. A write that
was refused because somebody had changed the Secret (a label is enough) takes its intent back (acting/apply.py).
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidFlag
from orchestrator.flag import CLEAR, FlagValues, is_on, parse_instant, parse_percent, show_instant
from orchestrator_operator.specs.rollout_status import FlagIntent

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from orchestrator.flag import FlagSnapshot


def cleared_by_hand(intent: FlagIntent | None, flag: FlagSnapshot) -> bool:
    """Whether somebody has turned off what we turned on: first key away or not `true`, or a share of 0."""
    if intent is None or not intent.enabled or not _is_off(flag.values):
        return False
    return intent.confirmed or flag.version != intent.seen_version


def says(values: FlagValues, intent: FlagIntent) -> bool:
    """Whether the flag stands as intended."""
    return values == wanted_values(intent)


def wanted_values(intent: FlagIntent) -> FlagValues:
    """The keys that an intent means."""
    return FlagValues("true", intent.percent, intent.expires) if intent.enabled else CLEAR


def holds(intent: FlagIntent | None, flag: FlagSnapshot, percent: str, deadman: timedelta, now: datetime) -> bool:
    """Whether the flag says this share as we wrote it, and its expiry need not be renewed yet."""
    if intent is None or not intent.enabled or intent.percent != percent or not says(flag.values, intent):
        return False
    return not renewal_due(intent, deadman, now)


def renewal_due(intent: FlagIntent, deadman: timedelta, now: datetime) -> bool:
    """Whether less than half of `deadman` is left (or it was changed so that more than all of it is)."""
    if not deadman or intent.expires is None:
        return bool(deadman) != (intent.expires is not None)
    left = parse_instant(intent.expires) - now
    return left < deadman / 2 or left > deadman


def expired(intent: FlagIntent | None, flag: FlagSnapshot, now: datetime) -> bool:
    """Whether the flag stands as we wrote it and has run out, so that routers are on V1."""
    if intent is None or not intent.enabled or intent.expires is None:
        return False
    return says(flag.values, intent) and parse_instant(intent.expires) <= now


def renew_at(intent: FlagIntent | None, deadman: timedelta) -> datetime | None:
    """When the expiry is to be renewed."""
    if intent is None or intent.expires is None or not deadman:
        return None
    return parse_instant(intent.expires) - deadman / 2


def intend(percent: str | None, expires: datetime | None, *, secret: str, flag: FlagSnapshot) -> FlagIntent:
    """A new intent to say `true`, seen from the flag as it is."""
    shown = None if expires is None else show_instant(expires)
    return FlagIntent(enabled=True, secret=secret, percent=percent, expires=shown, seen_version=flag.version)


def edited(intent: FlagIntent | None, flag: FlagSnapshot) -> str:
    """A sentence about keys that somebody changed after we had seen them as we wrote them; "" if nobody did."""
    if intent is None or not intent.enabled or not intent.confirmed or says(flag.values, intent):
        return ""
    ours, theirs = wanted_values(intent).as_mapping(), flag.values.as_mapping()
    return "; ".join(
        f"{key} was {_shown(ours[key])} and became {_shown(theirs[key])}{by_whom(flag, key)}"
        for key in ours
        if ours[key] != theirs[key]
    )


def present_keys(flag: FlagSnapshot) -> str:
    """The keys that are there, and who wrote them last."""
    return ", ".join(
        f"{key}={_shown(value)}{by_whom(flag, key)}"
        for key, value in flag.values.as_mapping().items()
        if value is not None
    )


def by_whom(flag: FlagSnapshot, key: str) -> str:
    """` (by kubectl-edit)`, if the home of the flag knows."""
    manager = flag.managers.get(key)
    return f" (by {manager})" if manager else ""


def _is_off(values: FlagValues) -> bool:
    """Off to a person's mind: a share of 0 asks for the same thing as no flag."""
    if not is_on(values):
        return True
    try:
        return values.percent is not None and parse_percent(values.percent) == Decimal(0)
    except InvalidFlag:
        return False  # nonsense is set right again, it is no wish


def _shown(value: str | None) -> str:
    return "absent" if value is None else repr(value[:40])
