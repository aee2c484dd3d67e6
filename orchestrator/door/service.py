"""What the door does for a caller, without HTTP: check, accept once, tell how it stands, wait for the end."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import structlog

from orchestrator.authoring import check_input
from orchestrator.door.answers import begun, describe
from orchestrator.door.pressure import Pressure
from orchestrator.door.problems import KeyTaken, Refused, later, unprocessable
from orchestrator.door.waits import Waits
from orchestrator.errors import InvalidInput, InvalidPayload, Problem
from orchestrator.intake import Request
from orchestrator.model import Engine
from orchestrator.payloads import check_size
from orchestrator.store.codec import dump_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta

    from orchestrator.clock import Clock
    from orchestrator.door.accepting import Accepted, Acceptor, Workflows
    from orchestrator.door.request import ExecuteRequest
    from orchestrator.door.settings import DoorSettings
    from orchestrator.door.tokens import Tokens
    from orchestrator.model import Trace
    from orchestrator.store.port import Store
    from orchestrator.store.records import ExecutionRecord

#: A key may have been accepted before, its answer lost: refusing a retry says nothing about that one.
_NOTHING_NEW: Final = "nothing new was accepted, and the same key may be asked again"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Inside:
    """What the door leads to. `namespace` bounds what callers can read; "": everything in the store."""

    store: Store
    acceptor: Acceptor
    workflows: Workflows
    tokens: Tokens
    clock: Clock
    namespace: str = ""


@dataclass(eq=False, slots=True)
class Admission:
    """A request that was let in; `accepting` is what makes it durable, as soon as that has begun."""

    accepting: asyncio.Task[Accepted] | None = None


class Service:
    """Every method raises Refused for what the caller can mend or try again, StoreUnavailable when nothing is known."""

    def __init__(self, inside: Inside, settings: DoorSettings) -> None:
        self._inside, self._settings = inside, settings
        self.pressure = Pressure(inside.store, inside.clock, settings.backlog)
        self.waits = Waits(inside.store, settings.waits)
        self._admitted: set[Admission] = set()
        self._accepting: set[asyncio.Task[Accepted]] = set()

    @property
    def at_once(self) -> int:
        """Requests that were let in and are not accepted yet."""
        return len(self._admitted)

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[Admission]:
        """Around a request until it is accepted: refuse now what could not be run soon.

        It counts from here on, its body unread; and until its acceptance is over, though its caller may have gone.
        """
        if self.at_once >= self._settings.accepting:
            raise later(HTTPStatus.TOO_MANY_REQUESTS, f"too many requests at once: {_NOTHING_NEW}", 1)
        admission = Admission()
        self._admitted.add(admission)
        try:
            if (seconds := await self.pressure.retry_after()) is not None:
                message = f"workers do not keep up: {_NOTHING_NEW}; come again in {seconds} s"
                raise later(HTTPStatus.TOO_MANY_REQUESTS, message, seconds)
            yield admission
        finally:
            if admission.accepting is None:
                self._admitted.discard(admission)
            else:
                admission.accepting.add_done_callback(lambda _: self._admitted.discard(admission))

    async def accept(
        self, asked: ExecuteRequest, trace: Trace | None, caller: str, admission: Admission
    ) -> tuple[Request, Accepted]:
        """Durable when it returns. Who hangs up meanwhile is accepted all the same."""
        wanted = await self._wanted(asked, trace)
        task = asyncio.create_task(self._accept(wanted, caller), name=f"accept:{wanted.id}")
        admission.accepting = task
        self._accepting.add(task)
        task.add_done_callback(self._accepted)
        return wanted, await asyncio.shield(task)

    async def told(self, wanted: Request, accepted: Accepted, wait: timedelta | None) -> dict[str, Any]:
        """How what was accepted stands: now, or when it is over or the time is."""
        if accepted.created and accepted.engine is not None and not wait and wanted.workflow.concurrency is None:
            return begun(accepted.id, wanted.workflow.id, accepted.engine)  # as it stands, without a look
        return await self.stands(accepted.id, wait)

    async def stands(self, execution_id: str, wait: timedelta | None) -> dict[str, Any]:
        """How an execution stands: now, or when it is over or the time is."""
        record = await self._find(execution_id)
        if record.finished_at is None and wait:
            await self.waits.until_over(execution_id, wait.total_seconds())
            record = await self._find(execution_id)
        return describe(record)

    async def aclose(self) -> None:
        """See through what is being accepted."""
        if self._accepting:
            await asyncio.wait(self._accepting, timeout=self._settings.drain.total_seconds())
        await self.waits.aclose()
        await self.pressure.aclose()

    async def _wanted(self, asked: ExecuteRequest, trace: Trace | None) -> Request:
        try:
            workflow = await self._inside.workflows.find(asked.workflow)
            check_input(workflow, asked.input)
            check_size(dump_json(asked.input, "input"), "input")
        except InvalidInput as error:
            raise unprocessable(error) from None
        except InvalidPayload as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, [Problem("input", str(error))]) from None
        return Request(
            id=str(uuid.uuid4()),
            workflow=workflow,
            input=asked.input,
            engine=None if asked.engine == "auto" else Engine(asked.engine),
            routing_key=asked.routing_key,
            idempotency_key=asked.idempotency_key,
            trace=trace,
        )

    async def _accept(self, wanted: Request, caller: str) -> Accepted:
        try:
            accepted = await self._inside.acceptor.accept(wanted)
        except KeyTaken as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, [Problem("idempotencyKey", str(error))]) from None
        except InvalidInput as error:
            raise unprocessable(error) from None
        except InvalidPayload as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, [Problem("input", str(error))]) from None
        if accepted.created:
            self.pressure.accepted()
        log.info("accepted at the door", execution=accepted.id, caller=caller, again=not accepted.created)
        return accepted

    def _accepted(self, task: asyncio.Task[Accepted]) -> None:
        self._accepting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Refused):
            log.warning("a request was not accepted", error=str(error))

    async def _find(self, execution_id: str) -> ExecutionRecord:
        if "\x00" not in execution_id:  # no store has such an id, and PostgreSQL cannot even be asked
            record = await self._inside.store.get(execution_id)
            namespace = self._inside.namespace
            if record is not None and namespace in ("", record.workflow_id.partition("/")[0]):
                return record
        raise Refused(HTTPStatus.NOT_FOUND, [Problem("id", "no execution of this id is here")])
