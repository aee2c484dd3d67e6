"""A Lease as the election reads it, and what follows from it. Pure.

The fields are those of coordination.k8s.io/v1, used as client-go uses them, so that `kubectl get lease` and other tools
show what they always show. Nobody's clock is compared with anybody else's: who waits counts from the moment at which it
saw the record change last, who leads from the moment before it asked for its last renewal.

Two annotations make room for one that can do what the leader cannot: the leader says what it lacks, a candidate that
has it asks for the Lease, and the leader, if it still lacks it, ends what it is about and gives the Lease back. Where
nobody has it (the store is down for all) the leader stays, and can still clear the flag.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_MICROS = "%Y-%m-%dT%H:%M:%S.%fZ"  # MicroTime
LACKS = "orchestrator.dev/leader-lacks"  # what the leader cannot do its work without, and since when
ASKS = "orchestrator.dev/asks-for-lease"  # the candidate that has it
_MARGIN = 0.2  # of the duration: the leader stops so much earlier than another one may begin


@dataclass(frozen=True, slots=True)
class Record:
    """Who leads, as one version of the Lease says; no holder: nobody does."""

    version: str  # metadata.resourceVersion
    holder: str = ""
    duration: float = 0.0  # seconds after its last change until another one may take it
    acquired: str = ""
    transitions: int = 0
    lacks: str = ""
    asks: str = ""


class Next(Enum):
    """What a candidate does about a record."""

    TAKE = "take"
    WAIT = "wait"
    ASK = "ask"  # for what the leader cannot use; only if this candidate can


def identity(name: str, nonce: str) -> str:
    """What a holder is called: its name, and what tells this process from those before it."""
    return f"{name}_{nonce}"


def name_of(holder: str) -> str:
    """The name in an identity."""
    return holder.rpartition("_")[0]


def read(body: Mapping[str, Any]) -> Record:
    """A Lease as the API server has it; without a holder nobody has it."""
    spec, notes = body.get("spec") or {}, body["metadata"].get("annotations") or {}
    return Record(  # the API server checks the types
        version=str(body["metadata"]["resourceVersion"]),
        holder=str(spec.get("holderIdentity") or ""),
        duration=float(spec.get("leaseDurationSeconds") or 0),
        acquired=str(spec.get("acquireTime") or ""),
        transitions=int(spec.get("leaseTransitions") or 0),
        lacks=str(notes.get(LACKS) or ""),
        asks=str(notes.get(ASKS) or ""),
    )


def decide(record: Record, me: str, seen: float, now: float) -> Next:
    """What a candidate does that saw this version first at `seen`; both in seconds of its own monotonic clock.

    A process before this one under the same name is over, so nobody waits for it: a container that was restarted.
    """
    free = not record.holder or name_of(record.holder) == name_of(me) or now - seen >= record.duration
    if free:
        return Next.TAKE
    return Next.ASK if record.lacks and not record.asks else Next.WAIT


def leads_until(asked: float, duration: float) -> float:
    """Until when a renewal holds that was asked for at `asked`: earlier than anybody else may think so."""
    return asked + duration * (1 - _MARGIN)


def taken(record: Record | None, me: str, duration: int, now: datetime) -> dict[str, Any]:
    """The spec with which `me` takes the Lease, or keeps it."""
    kept = record is not None and record.holder == me and bool(record.acquired)
    before = 0 if record is None else record.transitions
    moment = now.strftime(_MICROS)
    return {
        "holderIdentity": me,
        "leaseDurationSeconds": duration,
        "acquireTime": record.acquired if record is not None and kept else moment,
        "renewTime": moment,
        "leaseTransitions": before if record is None or kept else before + 1,
    }


def told(lacks: str) -> dict[str, str | None]:
    """The annotations with which a holder takes or keeps the Lease: whoever asked for it before has been heard."""
    return {LACKS: lacks or None, ASKS: None}


def released(now: datetime) -> dict[str, Any]:
    """The spec with which the holder gives it back, so that the next one need not wait."""
    moment = now.strftime(_MICROS)
    return {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": moment, "acquireTime": moment}
