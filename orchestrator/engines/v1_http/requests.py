"""What is asked of the legacy endpoint, and what its answers mean: to start an execution, to cancel it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.engines.v1_http import reports
from orchestrator.engines.v1_http.callback import invitation
from orchestrator.engines.v1_http.credentials import without_token
from orchestrator.engines.v1_http.endpoint import NoAnswer, NotSent
from orchestrator.engines.v1_http.settings import Outcome
from orchestrator.errors import InvalidInput, StepError
from orchestrator.masks import MASKS

if TYPE_CHECKING:
    from orchestrator.engines.v1_http.credentials import CallbackTokens
    from orchestrator.engines.v1_http.endpoint import Endpoint
    from orchestrator.engines.v1_http.reports import Report
    from orchestrator.engines.v1_http.settings import V1HttpSettings
    from orchestrator.store.messages import Claim


@dataclass(frozen=True, slots=True)
class Started:
    """What came of a post: the outcome, if it is known by now; else why it may not have started, or ""."""

    report: Report | None
    doubt: str = ""


class Requests:
    """Starts and cancels executions over there."""

    def __init__(self, endpoint: Endpoint, settings: V1HttpSettings, tokens: CallbackTokens | None) -> None:
        self._endpoint, self._settings, self._tokens = endpoint, settings, tokens

    async def start(self, claim: Claim) -> Started:
        """Post an execution, and wait for the answer."""
        callback = None
        if self._tokens is not None and self._settings.callback_url is not None:
            callback = invitation(self._settings.callback_url, claim.id, self._tokens)
        answer_is_all = self._settings.outcome is Outcome.RESPONSE
        try:
            answer = await self._endpoint.start(claim.id, claim.workflow_id, claim.input, callback)
        except NotSent as error:
            return Started(reports.failed("ConnectionError", str(error)))
        except InvalidInput as error:
            return Started(reports.failed("V1Credentials", str(error)))
        except (NoAnswer, StepError) as error:
            if not answer_is_all:
                return Started(None, doubt=str(error))
            kind = error.kind if isinstance(error, StepError) else "ConnectionError"
            return Started(reports.failed(kind, f"{error}; nobody knows whether it ran"))
        if answer_is_all:
            return Started(reports.from_answer(answer, self._settings.response_status, self._settings.statuses))
        return Started(reports.refusal(answer), doubt="" if answer.accepted else answer.shown)

    async def cancel(self, claim: Claim) -> str:
        """Ask for a cancel, if the settings say where; a sentence if that failed, else ""."""
        try:
            answer = await self._endpoint.cancel(claim.id, claim.workflow_id)
        except (NoAnswer, NotSent, StepError, InvalidInput) as error:
            return f"V1 could not be asked to cancel: {error}"
        return "" if answer is None or answer.accepted else f"V1 does not cancel: {answer.shown}"

    def masked(self, execution_id: str, value: Any) -> Any:
        """A JSON value without anything that must not be kept of an execution."""
        value = MASKS.json(value)
        return value if self._tokens is None else without_token(value, self._tokens.make(execution_id))
