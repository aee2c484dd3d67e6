"""Which executions a command means: those that are named, or those that fit every option."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.executions.common import workflow_id
from orchestrator.cli.options import duration
from orchestrator.errors import InvalidInput, Problem
from orchestrator.model import Engine, Status
from orchestrator.store.records import V1_GRACE, Filter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orchestrator.store import ExecutionRecord, Store

PAGE = 500  # executions read at once

Ids = Annotated[list[str] | None, typer.Argument(help="Their ids; or choose them by the options.", show_default=False)]
WorkflowOption = Annotated[
    str | None, typer.Option("--workflow", help="Only of this workflow: namespace/name, or a name in `default`.")
]
StatusOption = Annotated[
    list[Status] | None, typer.Option("--status", help="Only with this status; may be given several times.")
]
OlderOption = Annotated[
    str | None, typer.Option("--older-than", help="Only those submitted longer ago than that: 30m, 2h, 7d.")
]
NewerOption = Annotated[str | None, typer.Option("--newer-than", help="Only those submitted since then: 30m, 2h, 7d.")]
KindOption = Annotated[
    str | None, typer.Option("--failed-kind", help="Only those that failed with this kind of error: HttpStatus.")
]
NodeOption = Annotated[str | None, typer.Option("--failed-node", help="Only those that failed at this node.")]
EngineOption = Annotated[Engine | None, typer.Option("--engine", help="Only those that this engine runs.")]
StalledOption = Annotated[
    bool, typer.Option("--stalled", help="Only running ones whose worker's lease, or whose step's time, is over.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, newest first.")]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person chose; `None` says nothing."""

    workflow: str | None = None
    statuses: tuple[Status, ...] | None = None
    older_than: str | None = None
    newer_than: str | None = None
    failed_kind: str | None = None
    failed_node: str | None = None
    limit: int | None = None
    engine: Engine | None = None
    stalled: bool = False

    @property
    def says_nothing(self) -> bool:
        return self == Selection()

    def where(self, now: datetime) -> Filter:
        """The filter; raises InvalidInput for an age that is none."""
        return Filter(
            workflow_id=workflow_id(self.workflow),
            statuses=self.statuses,
            created_before=_since("--older-than", self.older_than, now),
            created_after=_since("--newer-than", self.newer_than, now),
            failed_kind=self.failed_kind,
            failed_node=self.failed_node,
            engine=self.engine,
            stalled_before=now - V1_GRACE if self.stalled else None,
        )


def chosen(
    workflow: str | None,
    statuses: list[Status] | None,
    older_than: str | None,
    newer_than: str | None,
    failed_kind: str | None,
    failed_node: str | None,
    limit: int | None,
    engine: Engine | None,
    *,
    stalled: bool,
) -> Selection:
    """The options of a command as a selection."""
    return Selection(
        workflow=workflow,
        statuses=tuple(statuses) if statuses else None,
        older_than=older_than,
        newer_than=newer_than,
        failed_kind=failed_kind,
        failed_node=failed_node,
        limit=limit,
        engine=engine,
        stalled=stalled,
    )


def check_one_way(ids: list[str] | None, selection: Selection) -> None:
    """Either names or options, and one of them; raises InvalidInput."""
    if ids and not selection.says_nothing:
        raise InvalidInput([Problem("", "name executions or choose them by options, not both")])
    if not ids and selection.says_nothing:
        message = "which executions? Name their ids, or choose them by --workflow, --status, --engine, --older-than, …"
        raise InvalidInput([Problem("", message)])


async def pages(store: Store, selection: Selection, now: datetime) -> AsyncIterator[list[ExecutionRecord]]:
    """Everything that fits, newest first, a page at a time; what is submitted meanwhile is not among it."""
    where, left = selection.where(now), selection.limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = await store.executions(replace(where, limit=size))
        if page:
            yield page
        if len(page) < size:
            return
        left = None if left is None else left - len(page)
        where = replace(where, after=(page[-1].created_at, page[-1].id))


def _since(option: str, age: str | None, now: datetime) -> datetime | None:
    return None if age is None else now - duration(age, option)
