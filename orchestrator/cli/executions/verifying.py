"""`orchestrator executions verify`: whether what must hold for every execution does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import typer

from orchestrator.cli.executions.common import app, ask, found
from orchestrator.cli.executions.progress import Progress
from orchestrator.cli.executions.selecting import (
    EngineOption,
    Ids,
    KindOption,
    LimitOption,
    NewerOption,
    NodeOption,
    OlderOption,
    StalledOption,
    StatusOption,
    WorkflowOption,
    check_one_way,
    chosen,
    pages,
)
from orchestrator.cli.options import Database, Output, OutputOption, examples, print_json
from orchestrator.errors import OrchestratorError, StoreUnavailable
from orchestrator.events import Recorded
from orchestrator.invariants import Violation, violations
from orchestrator.model import Engine, Workflow
from orchestrator.store import ExecutionRecord, Store

_TOGETHER: Final = 50  # histories in one query
_TRIES: Final = 5  # of reading a row and its events at one moment, while a worker is at it


@dataclass(slots=True)
class Verdict:
    """What was looked at, and what was found."""

    executions: int = 0
    events: int = 0
    of_v1: int = 0  # these keep no events
    moving: list[str] = field(default_factory=list)  # too busy to be read at one moment
    violations: list[Violation] = field(default_factory=list)

    def __str__(self) -> str:
        looked = f"in {self.executions} executions, {self.events} events"
        said = f"{looked}: all hold" if not self.violations else f"{looked}: {len(self.violations)} violations"
        said += f"; {self.of_v1} of V1, which keeps no events" if self.of_v1 else ""
        return said + (f"; {len(self.moving)} moved too fast to be read, try again" if self.moving else "")


@app.command(
    epilog=examples(
        "orchestrator executions verify", "orchestrator executions verify --workflow orders --newer-than 1d"
    )
)
def verify(
    ids: Ids = None,
    *,
    database: Database = None,
    workflow: WorkflowOption = None,
    status: StatusOption = None,
    engine: EngineOption = None,
    stalled: StalledOption = False,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    failed_kind: KindOption = None,
    failed_node: NodeOption = None,
    limit: LimitOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Prove that the events of executions are whole, legal, and what their rows say; all of them by default.

    Exit codes: 0 everything holds, 1 something does not.
    """
    selection = chosen(
        workflow, status, older_than, newer_than, failed_kind, failed_node, limit, engine, stalled=stalled
    )
    if ids:
        check_one_way(ids, selection)
    now = datetime.now(UTC)
    selection.where(now)

    async def asked(store: Store) -> Verdict:
        check = _Check(store)
        if ids:
            await check.page([found(await store.get(i), i) for i in dict.fromkeys(ids)])
        else:
            async for page in pages(store, selection, now):
                await check.page(page)
        check.progress.over()
        return check.verdict

    verdict = ask(database, asked)
    if output is Output.JSON:
        print_json(_described(verdict))
    else:
        for violation in verdict.violations:
            typer.echo(str(violation))
        typer.echo(str(verdict))
    if verdict.violations:
        sys.exit(1)


def _described(verdict: Verdict) -> dict[str, object]:
    rows = [{"execution": v.execution_id, "rule": v.rule, "message": v.message} for v in verdict.violations]
    return {
        "executions": verdict.executions,
        "events": verdict.events,
        "of_v1": verdict.of_v1,
        "moving": verdict.moving,
        "violations": rows,
    }


class _Check:
    """One run over executions; each revision of a workflow is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._workflows: dict[tuple[str, str], Workflow | OrchestratorError] = {}
        self.verdict, self.progress = Verdict(), Progress("verify")

    async def page(self, records: Sequence[ExecutionRecord]) -> None:
        durable = [record for record in records if record.engine is Engine.V2]
        self.verdict.of_v1 += len(records) - len(durable)
        left = iter(durable)
        while portion := list(islice(left, _TOGETHER)):
            histories = await self._store.histories([record.id for record in portion])
            for record in portion:
                await self._one(record, histories.get(record.id, []))
            self.progress.at(self.verdict.executions)

    async def _one(self, record: ExecutionRecord, history: list[Recorded]) -> None:
        seen: ExecutionRecord | None = record
        for _ in range(_TRIES):
            if seen is None:
                return  # retention took it meanwhile
            wrong = await self._violations(seen, history)
            after = await self._store.get(record.id) if wrong else seen
            if not wrong or after == seen:
                self.verdict.executions += 1
                self.verdict.events += len(history)
                self.verdict.violations += wrong
                return
            seen, history = after, await self._store.events(record.id)
        self.verdict.moving.append(record.id)

    async def _violations(self, record: ExecutionRecord, history: list[Recorded]) -> list[Violation]:
        workflow = await self._workflow(record)
        if isinstance(workflow, OrchestratorError):
            return [Violation("its workflow is kept", record.id, str(workflow))]
        return violations(record, history, workflow)

    async def _workflow(self, record: ExecutionRecord) -> Workflow | OrchestratorError:
        key = (record.workflow_id, record.revision)
        if key not in self._workflows:
            try:
                self._workflows[key] = await self._store.workflow(*key)
            except StoreUnavailable:
                raise
            except OrchestratorError as error:
                self._workflows[key] = error
        return self._workflows[key]
