"""The rollouts that the controller knows, and which of them owns the flag."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from orchestrator.errors import InvalidInput
from orchestrator_operator.handlers.seen import came_back, mapping
from orchestrator_operator.rollout.log import restoring
from orchestrator_operator.rollout.phases import OVER
from orchestrator_operator.specs.rollout import load_rollout, parse_rollout
from orchestrator_operator.specs.rollout_status import RolloutStatus, read_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.errors import Problem
    from orchestrator_operator.specs.rollout import RolloutSpec

DEFAULT_SECRET = "orchestrator-flags"  # noqa: S105 - a Secret's name, not its content

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Known:
    """One EngineRollout: what the API last said of it, and what we decided last. Made by `found`.

    `status` runs ahead of `written` only when the API server did not take a rollback's status: the decision stands,
    and routers follow it, before anybody else can read it.
    """

    body: Mapping[str, Any]
    status: RolloutStatus
    written: RolloutStatus
    spec: RolloutSpec | None = None  # the last one that could be read; None: none ever could
    problems: tuple[Problem, ...] = ()  # what is wrong with the one that stands there now
    failures: int = 0  # reconciles in a row that failed
    due: float = 0.0  # when to look at it again, by the event loop's clock
    told: set[str] = field(default_factory=set)  # troubles of ours that have been said once

    @classmethod
    def found(cls, body: Mapping[str, Any]) -> Known:
        """As it was found. A status that cannot be read counts as none: then the log says where the rollout stood."""
        try:
            status = read_status(body.get("status"))
        except (ValidationError, AttributeError, TypeError) as error:
            _log.warning(
                "a rollout's status cannot be read: the log may know it",
                rollout=_name(body),
                error=str(error),
            )
            status = RolloutStatus()
        labels = mapping(mapping(body.get("metadata")).get("labels"))
        now = status.model_copy(update={"restored": True}) if restoring.lost(status) and came_back(labels) else status
        known = cls(body, now, status)
        known.see(body)
        return known

    def is_older(self, body: Mapping[str, Any]) -> bool:
        """Whether this is what was there before the body that we have: two ways of reading may cross.

        Versions of one object can be compared as numbers; where they are none, nobody knows.
        """
        old, new = (str((one.get("metadata") or {}).get("resourceVersion", "")) for one in (self.body, body))
        return old.isdecimal() and new.isdecimal() and int(new) < int(old)

    def see(self, body: Mapping[str, Any]) -> None:
        """What the API says of it now; its status is ours, so the one that comes along is not read.

        A spec that cannot be read takes nothing away: V2 goes on to be counted and judged by the one before.
        """
        self.body = body
        raw = body.get("spec")
        try:
            self.spec, self.problems = parse_rollout(raw if isinstance(raw, dict) else {}), ()
        except InvalidInput as error:
            self.spec, self.problems = self.spec or load_rollout(self.status.readable_spec), error.problems

    def follow(self, status: RolloutStatus) -> None:
        """The status that the log of decisions knows better. Out of one that was lost nobody is told again."""
        if not self.written.decisions and not self.status.decisions:
            self.written = self.written.model_copy(update={"decisions": status.decisions})
        self.status = status

    @property
    def ages(self) -> tuple[float, ...]:
        """At which ages executions are read, in seconds."""
        return tuple(age.total_seconds() for age in self.spec.analysis.ages) if self.spec else ()

    @property
    def metadata(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.body.get("metadata") or {}
        return found

    @property
    def uid(self) -> str:
        return str(self.metadata.get("uid", ""))

    @property
    def name(self) -> str:
        """namespace/name."""
        return _name(self.body)

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.metadata

    @property
    def secret(self) -> str:
        """The Secret of the attempt that runs, else the one that the spec names."""
        intent = self.status.flag_intent
        if (
            intent is not None
            and intent.secret
            and (self.status.phase not in OVER or self.status.flag_cleared_at is None)
        ):
            return intent.secret
        flag = (self.body.get("spec") or {}).get("flag")
        named = flag.get("secret") if isinstance(flag, dict) else None
        return named if isinstance(named, str) and named else DEFAULT_SECRET

    @property
    def seniority(self) -> tuple[str, str]:
        """Who came first; the uid decides between two of one second."""
        return str(self.metadata.get("creationTimestamp", "")), self.uid


def owner_of(secret: str, rollouts: Iterable[Known]) -> Known | None:
    """The oldest rollout of a flag owns it, whatever its phase."""
    return min((known for known in rollouts if known.secret == secret), key=lambda known: known.seniority, default=None)


def _name(body: Mapping[str, Any]) -> str:
    meta = body.get("metadata") or {}
    return f"{meta.get('namespace', '')}/{meta.get('name', '')}"
