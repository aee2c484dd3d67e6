"""The world that a rollout lives in, as far as its judge can see it: traffic, failures, accidents, and what V2 does.

Every execution is of one kind. A kind says when it is seen to be bad, by which criterion; see KINDS. Shares are of all
executions, rates are an hour, durations timedeltas. Pure values; traffic.py draws from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(IntEnum):
    """What becomes of an execution."""

    FINE = 0
    FAILS_AT_ONCE = 1  # within a minute
    FAILS_SOON = 2  # within ten minutes
    FAILS_LATE = 3  # within hours: only the last age sees it
    TRANSIENT = 4  # its first attempt fails: V1 does not retry, V2 does and ends well
    SLOW = 5  # ends well, later than V1's 95th percentile
    ENDLESS = 6  # has not ended at the last age
    LONG = 7  # its steps take hours on either engine: runs still at ten minutes, ends well within a day
    LONG_SLOW = 8  # the same, later than its workflow's 95th percentile: only the last age can see that
    OVER_A_DAY = 9  # ends well, but runs still at the last age, though nothing in it waits
    STOPS = 10  # its worker is gone and no other takes it over: overdue from then on


FAILING = (Kind.FAILS_AT_ONCE, Kind.FAILS_SOON, Kind.FAILS_LATE, Kind.ENDLESS)
MIX: Mapping[Kind, float] = MappingProxyType(  # of the base failure rate
    {Kind.FAILS_AT_ONCE: 0.6, Kind.FAILS_SOON: 0.25, Kind.FAILS_LATE: 0.1, Kind.ENDLESS: 0.05}
)


@dataclass(frozen=True, slots=True)
class Harm:
    """What V2 does from its onset on; a V2 without a harm is V1 by another name."""

    onset: timedelta = timedelta(0)  # from the start of the rollout
    times: Mapping[Kind, float] = field(default_factory=dict)  # how many times as often V2 has these kinds
    fails: float = 0.0  # share of V2's executions that fail at once on top: a bad host; 1: total outage
    stops: float = 0.0  # share of V2's executions that stand still for good, on top
    both: float = 1.0  # how many times as often both arms fail: V2 eats what they share


@dataclass(frozen=True, slots=True)
class World:
    """One world; the default is healthy."""

    name: str
    load: float = 1000.0  # executions an hour
    base: float = 0.01  # V1's share of failures
    slow: float = 0.05  # later than the 95th percentile: 5 % by its definition
    long: float = 0.0  # share whose steps take hours, on both engines alike; what fails of them fails late
    over_a_day: float = 0.0  # share that takes longer than the last age, on both alike
    transient: float = 0.0  # share whose first attempt fails and whose second does not
    tenants: int = 200  # with Zipf traffic …
    zipf: float = 1.1
    odds: float = 0.65  # … and failure odds that differ: standard deviation of their logarithm
    daily: float = 0.5  # the load goes up and down by this share with the time of day
    incidents: float = 1.0  # a week: everything fails more often, an hour on average
    tenant_incidents: float = 7.0  # a week: half of one tenant's executions fail, two hours on average
    batches: float = 2.0  # a week: someone submits executions at once that all fail
    batch: int = 100  # how many
    stalls: float = 2.0  # a week: V2's disk is slow, three minutes on average (the guardrail of slow checkpoints)
    outages: timedelta = timedelta(0)  # how long Prometheus is away once a week
    missed: float = 0.005  # share of looks that do not happen: the operator restarts, or another one takes the Lease
    keyed: float = 0.0  # share of the executions that a routing key sends: no comparison judges them
    harm: Harm | None = None

    @property
    def rate(self) -> float:
        """How often V1 is bad by the criterion `failures` at the last age."""
        return self.base + self.transient


def worse(factor: float, onset: timedelta = timedelta(0)) -> Harm:
    """V2 fails so many times as often, in every way."""
    return Harm(onset, dict.fromkeys(FAILING, factor))
