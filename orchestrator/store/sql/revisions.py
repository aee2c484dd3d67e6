"""Workflow revisions: kept once, read once; and which of them is the current one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from orchestrator.authoring import load_definition
from orchestrator.errors import UnknownExecution
from orchestrator.faults import Boundary
from orchestrator.store import tables as t
from orchestrator.store.sql.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.model import Workflow


class Revisions(Connections):
    """Executions are pinned to a revision, whatever becomes of the resource that it came from."""

    def __init__(self) -> None:
        self._kept: set[tuple[str, str]] = set()  # known to be stored: most submissions bring no new one
        self._workflows: dict[tuple[str, str], Workflow] = {}

    async def put_workflow(self, workflow: Workflow) -> None:
        now = datetime.now(UTC)
        slots = None if workflow.concurrency is None else workflow.concurrency.limit

        def put(c: sa.Connection) -> None:
            self._keep_now(c, workflow, now)
            new = self._insert(t.current).values(workflow_id=workflow.id, revision=workflow.revision)
            newest = {"revision": new.excluded.revision}
            c.execute(new.on_conflict_do_update(index_elements=["workflow_id"], set_=newest))
            # Executions that wait already are under the new limit, too (Store.heal_limits).
            other = sa.and_(t.limits.c.workflow_id == workflow.id, t.limits.c.slots.is_distinct_from(slots))
            c.execute(sa.select(t.limits.c.limit_key).where(other).order_by(t.limits.c.limit_key).with_for_update())
            c.execute(sa.update(t.limits).where(other).values(slots=slots))

        await self._writing(Boundary.PUT_WORKFLOW, put)
        self._remember(workflow)

    async def _keep(self, workflows: Iterable[Workflow]) -> None:
        """Keep the revisions that executions are about to be pinned to; one is current if there is none yet."""
        new = {key: w for w in workflows if (key := (w.id, w.revision)) not in self._kept}
        if not new:
            return

        def keep(c: sa.Connection) -> None:
            for key in sorted(new):
                self._keep_now(c, new[key], datetime.now(UTC))
                first = self._insert(t.current).values(workflow_id=key[0], revision=key[1])
                c.execute(first.on_conflict_do_nothing())

        await self._writing(Boundary.PUT_WORKFLOW, keep)
        for workflow in new.values():
            self._remember(workflow)

    def _keep_now(self, c: sa.Connection, workflow: Workflow, now: datetime) -> None:
        values = {"definition": workflow.definition, "created_at": now}
        new = self._insert(t.revisions).values(workflow_id=workflow.id, revision=workflow.revision, **values)
        c.execute(new.on_conflict_do_nothing())

    def _remember(self, workflow: Workflow) -> None:
        key = (workflow.id, workflow.revision)
        self._kept.add(key)
        self._workflows[key] = workflow

    async def workflow(self, workflow_id: str, revision: str) -> Workflow:
        known = self._workflows.get((workflow_id, revision))
        if known is not None:
            return known
        async with self._reading() as c:
            found: Workflow = await c.run_sync(self._workflow_in, workflow_id, revision)
            return found

    def _workflow_in(self, c: sa.Connection, workflow_id: str, revision: str) -> Workflow:
        key = (workflow_id, revision)
        if key not in self._workflows:
            same = sa.and_(t.revisions.c.workflow_id == workflow_id, t.revisions.c.revision == revision)
            definition = c.scalar(sa.select(t.revisions.c.definition).where(same))
            if definition is None:
                raise UnknownExecution(f"revision {revision} of workflow {workflow_id} is not in this store")
            self._workflows[key] = load_definition(definition, workflow_id)
        return self._workflows[key]

    async def current(self, workflow_id: str) -> Workflow | None:
        async with self._reading() as c:
            revision = await c.scalar(sa.select(t.current.c.revision).where(t.current.c.workflow_id == workflow_id))
        return None if revision is None else await self.workflow(workflow_id, revision)
