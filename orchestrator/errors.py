"""Every error the engine raises on purpose.

    OrchestratorError
    ├── InvalidInput              something a person wrote is wrong: `problems` name field and remedy
    │   ├── InvalidWorkflow       a workflow document
    │   ├── InvalidExecution      an execution's input or settings
    │   └── InvalidFlag           a value of USE_ORCHESTRATOR_V2…
    ├── InvalidPayload            a value that no store can keep (NUL, lone surrogate, NaN)
    │   └── PayloadTooLarge       a value larger than an event may be
    ├── IllegalTransition         an event that the table of transitions does not allow
    ├── ExpressionError           a CEL expression failed while it was evaluated
    ├── StepError                 a node's attempt failed; says whether a retry may help
    ├── StoreError
    │   ├── StoreUnavailable      the database cannot be reached now; try again
    │   ├── SchemaConflict        tables of our names that our migrations did not make, or a newer schema
    │   └── UnknownExecution      no execution of that id
    ├── FlagError                 the flag's home, see flag.py: FlagConflict, FlagMissing, FlagUnavailable, FlagReadOnly
    └── LeaseLost                 another worker owns the execution; nothing was written

Messages are sentences that say what is wrong and what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta


class OrchestratorError(Exception):
    """The root: catching it catches everything that this package raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document: where (`spec.nodes[2].needs[0]`), and what to do about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidInput(OrchestratorError):
    """A document written by a person is wrong; `problems` holds every finding, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class InvalidWorkflow(InvalidInput):
    """A workflow document that cannot be run as it is."""


class InvalidExecution(InvalidInput):
    """An execution whose input or settings do not fit its workflow."""


class InvalidFlag(InvalidInput):
    """A flag value that cannot be understood; routers then stay on V1."""


class InvalidPayload(OrchestratorError):
    """A value that no store can keep. Never retried: the same code would produce it again."""


class PayloadTooLarge(InvalidPayload):
    """A value that is larger than an event may be; the message names its place and its size."""


class IllegalTransition(OrchestratorError):
    """An event arrived in a state that the table of transitions does not allow it in."""


class ExpressionError(OrchestratorError):
    """A CEL expression failed while it was evaluated: `path` is its place, `expression` its text."""

    def __init__(self, path: str, expression: str, reason: str) -> None:
        self.path, self.expression, self.reason = path, expression, reason
        super().__init__(f"{path}: ${{{expression}}} failed: {reason}")


class StepError(OrchestratorError):
    """An attempt of a node failed. `kind` is a stable word for retry rules and dashboards (`HttpStatus`, `Timeout`).

    `status` is the HTTP status that it failed with, `retry_after` how long the service asked to be left alone.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retryable: bool,
        status: int | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        self.kind, self.message, self.retryable = kind, message, retryable
        self.status, self.retry_after = status, retry_after
        super().__init__(f"{kind}: {message}")


class StoreError(OrchestratorError):
    """Something about the database."""


class StoreUnavailable(StoreError):
    """The database cannot be reached now. Nothing is known about the last write: ask again with the same id."""


class SchemaConflict(StoreError):
    """The database holds tables that we must not touch, or a schema that this version does not know."""


class UnknownExecution(StoreError):
    """No execution of that id is in this store."""


class LeaseLost(OrchestratorError):
    """Another worker owns the execution now; what this one wanted to write was refused."""
