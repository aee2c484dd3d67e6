"""What was seen while the demo ran: frozen values, gathered by `watch`, judged by `checks`, shown by `screen`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator_operator.demo.ledger import Summary
    from orchestrator_operator.demo.traffic import Sent

PERCENT_KEY = "USE_ORCHESTRATOR_V2_PERCENT"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One look at a rollout and at the flag, both read within the same second."""

    at: float  # seconds since the traffic began
    rollout: str  # the resource's name; "" while there is none
    status: Mapping[str, Any]  # its status, as the API server has it
    flag: Mapping[str, str] | None  # the keys that the Secret has; None: it could not be read

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    @property
    def flag_percent(self) -> str:
        """The percent in the Secret without needless zeros, "" where there is none."""
        return plain((self.flag or {}).get(PERCENT_KEY, ""))

    @property
    def decisions(self) -> list[Mapping[str, Any]]:
        return list(self.status.get("decisions") or ())


@dataclass(frozen=True, slots=True)
class Share:
    """So many out of so many."""

    part: int = 0
    whole: int = 0

    @property
    def percent(self) -> float:
        return 100.0 * self.part / self.whole if self.whole else 0.0

    def __str__(self) -> str:
        return f"{self.part} of {self.whole} ({self.percent:.1f} %)"


@dataclass(frozen=True, slots=True)
class Books:
    """What the store holds when everything has come to rest."""

    executions: int
    unfinished_v2: int
    refused_before: Mapping[str, Share]  # by engine: failed by the shop's refusal, of all submitted before the faults
    refused_by_faults: Share  # V2's, submitted while the shop refused it
    failed_otherwise: Mapping[str, int]  # by engine: of all, those that failed by anything else (a busy machine, say)
    steps: int  # completed steps of V2
    steps_not_once: int  # those with no completion event, or with more than one
    effects_missing: int  # completed HTTP steps of V2 whose key has no effect in the shop's ledger
    routed_lines: Mapping[str, int]  # by engine: lines "Usando Orchestrator V…" in edge_logs


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the claims of the demo are judged by. Times are seconds since the traffic began."""

    workflows: Mapping[str, bool]  # by name: whether its condition Valid is True
    sightings: tuple[Sighting, ...]
    sent: Sent
    resources: int  # Execution resources at the end
    books: Books
    after_rollback: Mapping[str, int]  # by engine ("none": never routed): resources made after the flag was seen gone
    ledger: Summary
    forbidden: Mapping[str, bool]  # what the operator's account must not do: whether the API server allows it
    faults_at: float
    good: str  # the name of the rollout that goes through
    bad: str  # the name of the rollout that is rolled back
    deleted_at: float = 0.0
    percents: tuple[str, ...] = field(default=("5", "25", "50", "100"))

    def of(self, rollout: str) -> list[Sighting]:
        """The sightings of one rollout, in order."""
        return [sighting for sighting in self.sightings if sighting.rollout == rollout]


def made_after(
    moment: datetime | None, resources: Iterable[Mapping[str, Any]], engines: Mapping[str, str]
) -> dict[str, int]:
    """How many of the resources made after a moment went to which engine ("none": to neither).

    The API server tells a resource's creation in whole seconds, cut off: only the seconds after the moment's own count.
    """
    if moment is None:
        return {}
    late = [
        body["metadata"]["uid"]
        for body in resources
        if datetime.fromisoformat(body["metadata"]["creationTimestamp"]) > moment
    ]
    return dict(Counter(engines.get(uid, "none") for uid in late))


def plain(percent: Any) -> str:
    """A percent without needless zeros: "5.00" is "5"; what is no number stays as it is."""
    try:
        return f"{Decimal(str(percent)).normalize():f}" if str(percent) else ""
    except InvalidOperation:
        return str(percent)
