"""What the commands below `orchestrator executions` share: the store, and an execution's forms for people and JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from orchestrator.errors import InvalidInput, Problem, UnknownExecution
from orchestrator.settings import Settings
from orchestrator.store import ExecutionRecord, Store, open_store
from orchestrator.store.codec import dump_failure
from orchestrator.store.open import database_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.model import Failure

app = typer.Typer(help="List, inspect and steer executions.", no_args_is_help=True, rich_markup_mode=None)

R = TypeVar("R")
Id = Annotated[str, typer.Argument(help="The execution's id.")]


def describe(record: ExecutionRecord) -> dict[str, Any]:
    """An execution as JSON."""
    return {
        "id": record.id,
        "workflow": record.workflow_id,
        "revision": record.revision,
        "engine": record.engine.value,
        "status": record.status.value,
        "node": record.current_node,
        "progress": f"{record.done}/{record.total}",
        "retries": record.retries,
        "created_at": record.created_at.isoformat(),
        "started_at": record.started_at.isoformat() if record.started_at else None,
        "finished_at": record.finished_at.isoformat() if record.finished_at else None,
        "output": record.output,
        "error": dump_failure(record.failure),
    }


def show_failure(failure: Failure) -> str:
    """A failure in one line."""
    where = f"node {failure.node}: " if failure.node else ""
    return f"{where}{failure.kind}: {failure.message}"


def ask(database: str | None, question: Callable[[Store], Awaitable[R]]) -> R:
    """The answer to a question about a database, which has to be there."""

    async def asked() -> R:
        async with opened(database) as store:
            return await question(store)

    return asyncio.run(asked())


@asynccontextmanager
async def opened(database: str | None) -> AsyncIterator[Store]:
    """A database, which has to be there, until the block ends. Raises InvalidInput, StoreError."""
    settings = Settings.read()
    settings = replace(settings, database=database or settings.database)
    must_exist(settings.database)
    store = await open_store(settings.database, schema=settings.schema, patience=settings.patience)
    try:
        yield store
    finally:
        await store.close()


def found(record: ExecutionRecord | None, execution_id: str) -> ExecutionRecord:
    """The record; raises UnknownExecution, saying where to look, if there is none."""
    if record is None:
        raise unknown(execution_id)
    return record


def unknown(execution_id: str) -> UnknownExecution:
    return UnknownExecution(f"no execution {execution_id!r} in this database: see `orchestrator executions list`")


def workflow_id(name: str | None) -> str | None:
    """A workflow as people name it: namespace/name, or a name in `default`."""
    return f"default/{name}" if name and "/" not in name else name


def must_exist(database: str) -> None:
    """A question must not make a database: a misspelt path would be answered by an empty one."""
    url = database_url(database)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        message = f"there is no database {url.database}; `orchestrator run` makes one, --database names another"
        raise InvalidInput([Problem("--database", message)])
