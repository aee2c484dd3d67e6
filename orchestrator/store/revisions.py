"""Workflow revisions: kept once, read once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from orchestrator.authoring import load_definition
from orchestrator.errors import UnknownExecution
from orchestrator.store import tables as t
from orchestrator.store.connections import Connections

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from orchestrator.model import Workflow


class Revisions(Connections):
    """Executions are pinned to a revision, whatever becomes of the resource that it came from."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self._kept: set[tuple[str, str]] = set()  # known to be stored: most submissions bring no new one
        self._workflows: dict[tuple[str, str], Workflow] = {}

    async def put_workflow(self, workflow: Workflow) -> None:
        key = (workflow.id, workflow.revision)
        self._workflows[key] = workflow
        if key in self._kept:
            return
        async with self._writing() as c:
            await c.execute(
                self._insert(t.revisions)
                .values(
                    workflow_id=workflow.id,
                    revision=workflow.revision,
                    definition=workflow.definition,
                    created_at=datetime.now(UTC),
                )
                .on_conflict_do_nothing()
            )
        self._kept.add(key)

    async def workflow(self, workflow_id: str, revision: str) -> Workflow:
        key = (workflow_id, revision)
        if key not in self._workflows:
            query = sa.select(t.revisions.c.definition).where(
                t.revisions.c.workflow_id == workflow_id, t.revisions.c.revision == revision
            )
            async with self._reading() as c:
                definition = await c.scalar(query)
            if definition is None:
                raise UnknownExecution(f"revision {revision} of workflow {workflow_id} is not in this store")
            self._workflows[key] = load_definition(definition, workflow_id)
        return self._workflows[key]
