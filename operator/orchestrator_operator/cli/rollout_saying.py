"""Say a word to the controller by an annotation, and wait until it was heard."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator_operator.rollout.planning.words import shortened
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout_status import RolloutStatus, Word, read_status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from orchestrator_operator.adapters.kubernetes import Kubernetes

_LOOK = 0.25  # seconds between two looks at the resource
_TELL = 5.0  # seconds between two lines of progress


@dataclass(frozen=True, slots=True)
class Said:
    """A word, what came of it, and how the rollout stood then."""

    name: str
    verb: str
    value: str
    status: RolloutStatus
    word: Word | None  # None: it was not heard yet

    def as_json(self) -> dict[str, Any]:
        """What `--output json` prints."""
        return {
            "name": self.name,
            "verb": self.verb,
            "value": self.value,
            "heard": self.word is not None,
            "done": self.word is not None and self.word.done,
            "answer": self.word.answer if self.word else "",
            "phase": self.status.phase.value,
            "reason": self.status.reason,
            "stage": self.status.stage,
            "percent": self.status.percent,
        }


async def say(
    kubernetes: Kubernetes,
    name: str,
    namespace: str,
    annotation: str,
    word: Callable[[RolloutStatus], str],
    *,
    timeout: timedelta,
    progress: Callable[[str], None],
) -> Said:
    """Annotate the resource with the word that fits its status, and wait for at most `timeout` for the answer.

    `progress` is told what is waited for. Raises what `word` raises, and KubernetesError.
    """
    before = read_status((await kubernetes.get(ROLLOUTS, namespace, name)).get("status"))
    value = shortened(word(before))
    body = await kubernetes.patch(ROLLOUTS, namespace, name, {"metadata": {"annotations": {annotation: value}}})
    verb = annotation.partition("/")[2]
    began, told = time.monotonic(), 0.0
    while True:
        status = read_status(body.get("status"))
        answer = _answer(before, status, verb, value, there=annotation in _annotations(body))
        waited = time.monotonic() - began
        if answer is not None or waited >= timeout.total_seconds():
            return Said(name, verb, value, status, answer)
        if waited - told >= _TELL:
            told = waited
            progress(f"waiting for the controller to hear it ({waited:.0f} s)")
        await asyncio.sleep(_LOOK)
        body = await kubernetes.get(ROLLOUTS, namespace, name)


def _answer(before: RolloutStatus, status: RolloutStatus, verb: str, value: str, *, there: bool) -> Word | None:
    """The answer to this word: a new one of its verb, or the last one where the same word was an echo to it."""
    found = _last(status, verb)
    if found is None or found.value != value:
        return None
    return found if not there or found != _last(before, verb) else None


def _last(status: RolloutStatus, verb: str) -> Word | None:
    return next((word for word in status.heard if word.verb == verb), None)


def _annotations(body: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (body.get("metadata") or {}).get("annotations") or {}
    return found
