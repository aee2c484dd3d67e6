"""What the webhook is told: which decisions, and in which words. Slack's JSON, which many others understand. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.log.chain import identity
from orchestrator_operator.specs.conditions import clip

if TYPE_CHECKING:
    from orchestrator_operator.specs.rollout_status import Decision, RolloutStatus

#: The decisions that people are told of beside the Events, and the sentence that opens each message.
OPENINGS = {
    "Start": "has started",
    "Promote": "goes on to its next stage",
    "Hold": "is held",
    "RollBack": "is rolled back",
    "Complete": "is completed",
    "AwaitApproval": "awaits a person's approval",
    "Alert": "was rolled back, but executions still start on V2",
}
_SENTENCE, _TITLE = 2900, 140  # bytes; Slack takes 3,000 characters of text, and 150 of a header


@dataclass(frozen=True, slots=True)
class Letter:
    """One message; `about` names it in our own log."""

    about: str
    body: dict[str, Any]


def due(name: str, status: RolloutStatus, written: RolloutStatus) -> tuple[Letter, ...]:
    """The letters about what a status decided that the one before, which was written last, did not know.

    The status is written before they are sent: so none is sent twice, whatever ends in between. No clock is asked: one
    that was turned back would silence a rollback.
    """
    out = {identity(decision) for decision in written.decisions}
    fresh = (decision for decision in status.decisions if identity(decision) not in out)
    told = (decision for decision in fresh if decision.action in OPENINGS and not decision.repeated)
    return tuple(letter(name, status, decision) for decision in told)


def letter(name: str, status: RolloutStatus, decision: Decision) -> Letter:
    """A decision in Slack's words: `text` for notifications and for other receivers, `blocks` for the eye."""
    title = f"Rollout {name} {OPENINGS[decision.action]}"
    place = [
        f"{decision.action} ({decision.reason})",
        f"stage {status.stage or '-'}",
        f"{status.percent} % of new executions on V2",
        f"by {decision.actor}",
        decision.at.strftime("%Y-%m-%d %H:%M:%S UTC"),
    ]
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": clip(title, _TITLE)}},
        {"type": "section", "text": {"type": "mrkdwn", "text": clip(_escaped(decision.message), _SENTENCE)}},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": clip(_escaped(" · ".join(place)), _SENTENCE)}]},
    ]
    text = clip(_escaped(f"{title}: {decision.message}"), _SENTENCE)
    return Letter(f"{name} {decision.action} {decision.reason}", {"text": text, "blocks": blocks})


def _escaped(text: str) -> str:
    """As Slack asks for it: a person's words must not call a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
