"""What becomes of a request that was understood: an execution in the store, once for each idempotency key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.door.problems import KeyTaken
from orchestrator.jsonvalues import same_value

if TYPE_CHECKING:
    from orchestrator.intake import Intake, Request
    from orchestrator.model import Engine, Workflow
    from orchestrator.store.port import Store
    from orchestrator.store.records import ExecutionRecord


class Workflows(Protocol):
    """Where workflows are known by name."""

    async def find(self, name: str) -> Workflow:
        """The workflow of a name; raises InvalidInput with a problem about `workflow`."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The execution that stands for a request; `created` is False if an earlier request made it."""

    id: str
    created: bool
    engine: Engine | None = None  # where it is known without a look


class Acceptor(Protocol):
    """Makes a request durable."""

    async def accept(self, request: Request) -> Accepted:
        """Durable when it returns. Raises KeyTaken, InvalidInput, InvalidPayload, or an error that will pass."""


class StoreAcceptor:
    """Straight into the store: one commit, which many requests share."""

    def __init__(self, store: Store, intake: Intake) -> None:
        self._store, self._intake = store, intake

    async def accept(self, request: Request) -> Accepted:
        submitted = await self._intake.accept(request)
        if submitted.id != request.id:
            await check_same(self._store, self._intake, submitted.id, request)
        return Accepted(submitted.id, submitted.id == request.id, submitted.engine)


async def check_same(store: Store, intake: Intake, execution_id: str, request: Request) -> None:
    """Raise KeyTaken unless the execution is what the request asks for."""
    record = await store.get(execution_id)
    if record is None:
        return  # it was dropped just now: retention
    field = difference(record, await store.input_of(execution_id), request, intake)
    if field is not None:
        raise KeyTaken(field, execution_id)


def difference(record: ExecutionRecord, input_: Any, request: Request, intake: Intake) -> str | None:
    """The field in which an execution of the same workflow is another one than the request asks for."""
    if not same_value(input_, request.input):
        return "input"
    if record.routing_key != request.routing_key:
        return "routingKey"
    return None if intake.same_engine(record, request.engine) else "engine"
