"""The rows of `rollout_decisions`: what stands in one, how it is hashed, and how rows share what they repeat. Pure.

A row's hash is SHA-256 over its canonical JSON: all of its fields but the hash itself, `content` as JSON and not as
text, keys in order, no blanks, everything beyond ASCII escaped. That is Python's
`json.dumps(row, sort_keys=True, separators=(",", ":"))`, so anybody can check it. `prev_hash` is one of the fields: so
each hash stands for all rows before it, too.

The content of a row that was decided, or merely observed:

    inputs      everything that was gathered, field by field (jsonform.py); but for what the status repeats of them
    queries     what Prometheus was asked
    judgement   each criterion's verdict with its numbers, and the alarms
    planned     the status that follows, and the actions
    version     of the software
    judge       the number of the judge; rows without one are of judge 1
    late        true: written down after it was done, because the store did not answer; inputs may be missing then
    same        instead of all that: the number of the row that was decided in the same breath
    lost        the end of the log as it was published, if the store has rows for it no more

What only grows, and the spec, is shared among rows: see sharing.py.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orchestrator.store.evidence import DecisionRow
from orchestrator_operator.rollout.judging.judge import JUDGE
from orchestrator_operator.rollout.log import jsonform
from orchestrator_operator.rollout.log.sharing import shortened, without_closed
from orchestrator_operator.rollout.model import RememberBins, RememberTotals, Tell
from orchestrator_operator.specs import GROUP
from orchestrator_operator.specs.rollout_status import DecisionHead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator_operator.rollout.log.sharing import Shared
    from orchestrator_operator.rollout.model import Gathered, Judgement, Plan
    from orchestrator_operator.specs.rollout_status import Decision, RolloutStatus

OBSERVED = "Observed"  # the action of a row that decided nothing: the evidence as it stood
NOWHERE = DecisionHead(number=0, hash="")  # the end of a log that has no row
HEAD_NUMBER = f"{GROUP}/decision"  # annotations of an Event: the end of the log when it was posted
HEAD_HASH = f"{GROUP}/decision-hash"

Content = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """A row that has no place in the chain yet."""

    rollout: str
    name: str
    attempt: str
    at: datetime
    action: str
    reason: str
    message: str
    actor: str
    content: Content

    @property
    def identity(self) -> tuple[datetime, str, str]:
        """What tells a decision from all others of its rollout."""
        return self.at, self.action, self.reason


def identity(decision: Decision) -> tuple[datetime, str, str]:
    """What tells a decision in the status from all others; the same as of its draft and its row."""
    return decision.at, decision.action, decision.reason


def decided(g: Gathered, judgement: Judgement, planned: Plan, version: str) -> tuple[Draft, ...]:
    """A draft for each decision of a plan; they share one content."""
    told = [action.decision for action in planned.actions if isinstance(action, Tell)]
    whole = content(g, judgement, planned, version) if told else {}
    return tuple(_draft(g, planned.status, decision, whole) for decision in told)


def observed(g: Gathered, judgement: Judgement, planned: Plan, version: str) -> Draft:
    """A row of a moment at which nothing was decided."""
    return Draft(
        rollout=g.uid,
        name=g.name,
        attempt=planned.status.attempt_id,
        at=g.now,
        action=OBSERVED,
        reason=planned.status.reason,
        message="",
        actor="controller",
        content=content(g, judgement, planned, version),
    )


def remembered(decision: Decision, g: Gathered) -> Draft:
    """A decision of which only the status knows: the process that made it ended before it was written down."""
    return _draft(g, g.status, decision, {"inputs": None})


def content(g: Gathered, judgement: Judgement, planned: Plan, version: str) -> Content:
    """All that was looked at and all that followed, as JSON."""
    inputs = without_closed(jsonform.dump(replace(g, queries=())))
    for told_better in _ELSEWHERE:
        inputs["status"].pop(told_better, None)
    return {
        "inputs": inputs,
        "queries": list(g.queries),
        "judgement": judged(judgement),
        "planned": {"status": status_after(planned.status), "actions": list(actions(planned))},
        "version": version,
        "judge": JUDGE,
    }


def judged(judgement: Judgement) -> Content:
    """A judgement as rows have it: of each criterion its name, for the rest stands in the spec."""
    found: Content = jsonform.dump(judgement)
    for item in found.get("criteria", ()):
        item["criterion"] = item["criterion"]["name"]
    return found


def status_after(status: RolloutStatus) -> Content:
    """A status as rows have it: without what other places tell better, and what only the writer of rows knows."""
    found: Content = jsonform.dump(status)
    return {key: value for key, value in found.items() if key not in _LEFT_OUT}


_ELSEWHERE = ("decisions", "readableSpec")  # of the status: rows, and `spec` among the inputs, say it
_LEFT_OUT = frozenset({*_ELSEWHERE, "conditions", "decisionHead", "judgedAs"})


def actions(planned: Plan) -> Iterator[Content]:
    """What was to be done, each with its name; what was to be told stands in the rows themselves."""
    for action in planned.actions:
        match action:
            case Tell():
                continue
            case RememberTotals(restart):
                yield {"action": "RememberTotals", "index": restart.index}  # the totals stand in the inputs
            case RememberBins(criterion, first, bins):  # and so do the bins
                yield {"action": "RememberBins", "criterion": criterion, "first": first, "count": len(bins)}
            case _:
                yield {"action": type(action).__name__, **jsonform.dump(action)}


def seal(draft: Draft, head: DecisionHead, more: Content, shared: Shared | None = None) -> DecisionRow:
    """The row that comes after `head`; `more` is what its content says of its place there."""
    text = {name: cleaned(getattr(draft, name)) for name in _TEXTS}
    body = more if "same" in more else {**draft.content, **more}
    if shared is not None and body.get("inputs") is not None:
        body = {**body, "inputs": shortened(body["inputs"], shared)}
    row = DecisionRow(
        rollout=draft.rollout,
        number=head.number + 1,
        at=draft.at,
        content=canonical(body),
        prev_hash=head.hash,
        hash="",
        **text,
    )
    return replace(row, hash=digest(row))


def digest(row: DecisionRow) -> str:
    """The hash that a row must bear; raises ValueError if its content is no JSON."""
    body = to_json(row)
    del body["hash"]
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def to_json(row: DecisionRow) -> Content:
    """A row as a line of an export has it."""
    return asdict(row) | {"at": jsonform.dump(row.at), "content": json.loads(row.content)}


def from_json(raw: Any) -> DecisionRow:
    """What `to_json` made; raises ValueError, KeyError or TypeError if it is something else."""
    names = {field.name for field in fields(DecisionRow)}
    if not isinstance(raw, dict) or raw.keys() != names:
        raise ValueError(f"not a row of the log: its keys must be {', '.join(sorted(names))}")
    at = datetime.fromisoformat(raw["at"])
    return DecisionRow(**{**raw, "at": at, "content": canonical(raw["content"])})


def canonical(value: Any) -> str:
    """The one text of a JSON value that is hashed; raises ValueError for inf and nan."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _draft(g: Gathered, status: RolloutStatus, decision: Decision, body: Content) -> Draft:
    return Draft(
        rollout=g.uid,
        name=g.name,
        attempt=status.attempt_id,
        at=decision.at,
        action=decision.action,
        reason=decision.reason,
        message=decision.message,
        actor=decision.actor,
        content=body,
    )


_TEXTS = ("name", "attempt", "action", "reason", "message", "actor")


def cleaned(text: str) -> str:
    """What no database can keep is replaced: people's words end up here."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()
