"""What people say by annotations: which words are new, what they mean, and what came of them. Pure.

Each word is heard once and taken off. The status remembers the last one of each verb until it was seen gone: neither a
crash between the two nor a resource that is read a moment too late makes it speak twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator_operator.rollout.model import DropAnnotation
from orchestrator_operator.rollout.phases import IN_A_STAGE, OVER
from orchestrator_operator.rollout.planning import situation
from orchestrator_operator.rollout.planning.situation import (
    APPROVAL_NEEDED,
    APPROVE,
    PAUSE,
    PROMOTE,
    RESUME,
    VERBS,
    Situation,
)
from orchestrator_operator.specs.conditions import clip
from orchestrator_operator.specs.rollout_status import Phase, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator_operator.rollout.model import Gathered
    from orchestrator_operator.rollout.planning.situation import Outcome
    from orchestrator_operator.specs.rollout_status import RolloutStatus

WORD_LIMIT = 256  # bytes
_ANSWER_LIMIT = 512  # bytes

_FORCE = "force"
_YES = "true"


def listen(g: Gathered) -> Gathered:
    """The same with only the words that are new, and with the status as a pause, a resume or an approval leaves it."""
    words = fresh(g.annotations, g.status)
    status = g.status
    if PAUSE in words and status.phase is not Phase.COMPLETED:
        status = status.model_copy(update={"paused_by": words[PAUSE].strip() or _YES})
    elif RESUME in words and PAUSE not in words:
        status = status.model_copy(update={"paused_by": "", "restored": _still_restored(status)})
    if APPROVE in words and (name := approves(replace(g, status=status), words[APPROVE])):
        status = status.model_copy(update={"approved": name, "approved_for": _answered(status, name)})
    return replace(g, annotations=words, status=status)


def _still_restored(status: RolloutStatus) -> bool | None:
    """A word that came back with it from the backup is no person's answer: it was not told yet that it waits."""
    return status.restored if not status.decisions else None


def fresh(annotations: Mapping[str, str], status: RolloutStatus) -> dict[str, str]:
    """The words that were not heard yet, by the annotation's key, as short as a status can bear."""
    echoes = {(word.verb, word.value) for word in status.heard if word.pending}
    said = {key: shortened(annotations[key]) for key in VERBS if key in annotations}
    return {key: value for key, value in said.items() if (_verb(key), value) not in echoes}


def shortened(word: str) -> str:
    """A word as it is remembered: an annotation may hold far more than the status of a resource should."""
    return clip(word.strip(), WORD_LIMIT)


def approvable(g: Gathered) -> str:
    """The stage's name that an approval must give now: the next one's if a person must let the rollout into it, else
    that of the one that runs; "" where nothing can be approved.
    """
    if g.spec is None:
        return ""
    s = Situation(g)
    if s.phase is Phase.PENDING:
        return s.stage.name if s.stage.approval else ""
    if s.phase not in IN_A_STAGE:
        return ""
    return s.onward.name if s.onward is not None and s.onward.approval else s.stage.name


def approves(g: Gathered, word: str) -> str:
    """The name that this word approves; "" if it approves nothing.

    In advance only a stage that asks for approval can be let into, and by its name: of whatever else may come to need
    one nobody knows anything yet.
    """
    name, said = approvable(g), word.strip()
    if g.status.awaits == name:
        return name if said in (name, _YES) else ""
    return name if said == name and _asked_for(g) else ""


def _asked_for(g: Gathered) -> bool:
    """Whether the spec asks for the approval that could be given now."""
    s = Situation(g)
    stage = s.stage if s.phase is Phase.PENDING else s.onward
    return stage is not None and stage.approval


def _answered(status: RolloutStatus, name: str) -> tuple[str, ...]:
    """The reasons that an approval answers which is given now: what is awaited, else what the spec asks for."""
    before = status.approved_for if status.approved == name else ()
    now = status.awaits_for if status.awaits == name else (APPROVAL_NEEDED,)
    return tuple(sorted({*before, *now}))


def promotes(s: Situation) -> bool:
    """Whether a person asks to go on from the stage that runs, now."""
    word = s.gathered.annotations.get(PROMOTE)
    return word is not None and s.phase in IN_A_STAGE and _stage_named(word) in (s.stage.name, _YES)


def forces(s: Situation) -> bool:
    """Whether that word asks for it without the criteria too."""
    return s.gathered.annotations.get(PROMOTE, "").strip().split(":", 1)[0] == _FORCE


def remembered(before: Gathered, heard: tuple[Word, ...]) -> tuple[Word, ...]:
    """The last word of each verb; one whose annotation is gone may be said again."""
    kept = {word.verb: word for word in before.status.heard}
    for key in VERBS:
        verb = _verb(key)
        if verb in kept and key not in before.annotations and kept[verb].pending:
            kept[verb] = kept[verb].model_copy(update={"pending": False})
    kept |= {word.verb: word for word in heard}
    return tuple(kept[verb] for verb in sorted(kept))


def taken_off(annotations: Mapping[str, str]) -> Iterator[DropAnnotation]:
    """Every word that stands on the resource: it was heard now, or before."""
    for key in VERBS:
        if key in annotations:
            yield DropAnnotation(key)


def answers(s: Situation, outcome: Outcome, status: RolloutStatus, obstacle: str) -> tuple[Word, ...]:
    """What came of each new word. `s` is as the rules saw it, `status` what they made of it, `obstacle` why a
    promotion was not made.
    """
    return tuple(
        Word(verb=_verb(key), value=value, at=s.now, done=done, answer=clip(answer, _ANSWER_LIMIT))
        for key, value in s.gathered.annotations.items()
        for done, answer in (_answer(s, outcome, status, key, obstacle),)
    )


def _answer(s: Situation, outcome: Outcome, status: RolloutStatus, key: str, obstacle: str) -> tuple[bool, str]:
    match key:
        case situation.ABORT:
            return status.phase in OVER, f"{status.phase}: {status.message}"
        case situation.PAUSE:
            return _paused(s)
        case situation.RESUME:
            return _resumed(s)
        case situation.APPROVE:
            return _approved(s, outcome)
        case _:
            done = outcome.raises and outcome.reason in ("Promoted", "Forced")
            return done, outcome.message if done else obstacle


def _paused(s: Situation) -> tuple[bool, str]:
    if s.phase is Phase.COMPLETED:
        return False, "it is Completed: nothing is left to pause"
    return True, "no promotion and no start until it is resumed; criteria still roll back"


def _resumed(s: Situation) -> tuple[bool, str]:
    if PAUSE in s.gathered.annotations:
        return False, "a pause was said at the same moment, and counts"
    if s.status.restored:
        return False, "it stood there when the rollout came back from a backup: say it again"
    if s.gathered.spec is not None and s.gathered.spec.paused:
        return False, "spec.paused is true: set it to false where the spec is kept"
    return True, "it is not paused by an annotation any more"


def _approved(s: Situation, outcome: Outcome) -> tuple[bool, str]:
    name = approvable(s.gathered)
    word = s.gathered.annotations[APPROVE].strip()
    if outcome.reason == "Approved" or (name and s.status.approved == name and word in (name, _YES)):
        return True, outcome.message if outcome.raises else f"{name} is approved, and counts when its time has come"
    if not name:
        return False, f"nothing can be approved while it is {s.phase}"
    if not _asked_for(s.gathered):
        return (
            False,
            "nothing awaits an approval now, and the next stage asks for none",
        )
    if word == _YES:
        return False, f"nothing awaits an approval now; to give it in advance, name the stage: {APPROVE}={name}"
    return False, f"{word!r} is not what can be approved now: that is {name}"


def _stage_named(word: str) -> str:
    """The stage that a word to promote names, or `true`."""
    said = word.strip()
    if said == _FORCE:
        return _YES
    return said.removeprefix(f"{_FORCE}:").strip()


def _verb(key: str) -> str:
    return key.partition("/")[2]
