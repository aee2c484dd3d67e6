"""V1, the legacy engine that users are leaving, kept as it was so that the comparison means something.

It walks the nodes in order and keeps no checkpoints, does not validate states, does not retry, shares its context
dictionary between the executions of one process and namespace, stays `running` when its process dies, and starts from
the first node when a person runs it again. None of this is to be mended: V2 is the mending.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from functools import partial
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator import expressions, telemetry
from orchestrator.engines.v1_types import passes_by, step
from orchestrator.errors import ExpressionError, StepError
from orchestrator.model import Engine, Failure, Node, Projection, Status, Workflow
from orchestrator.nodes import wait
from orchestrator.nodes.base import StepContext
from orchestrator.store.messages import Claim, V1Update

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from orchestrator.clock import Clock
    from orchestrator.journal import GroupCommit
    from orchestrator.nodes.runner import NodeRunner
    from orchestrator.store.port import Store

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Walk:
    """Where an execution stands, as its row says it, and until when its step may take."""

    claim: Claim
    row: Projection
    until: datetime


class V1Engine:
    """Several executions at once in one process, all of a namespace writing into one context."""

    def __init__(self, store: Store, updates: GroupCommit[V1Update, bool], runner: NodeRunner, clock: Clock) -> None:
        self._store, self._updates, self._runner, self._clock = store, updates, runner, clock
        self._contexts: dict[str, dict[str, Any]] = {}

    async def claim(self, owner: str, limit: int, lease: timedelta, now: datetime) -> list[Claim]:
        """Pending executions, for good: nobody takes one over from a process that died."""
        return await self._store.claim(owner, Engine.V1, limit, lease, now)

    def stop(self) -> None:
        """Nothing can be let go: what does not end while the worker drains stays `running`."""

    async def run(self, claim: Claim) -> None:
        """Walk one execution from its first node to its end."""
        workflow = await self._store.workflow(claim.workflow_id, claim.revision)
        namespace = claim.workflow_id.partition("/")[0]
        outputs = self._contexts.setdefault(namespace, {})
        row = Projection(
            Status.RUNNING, "", 0, len(workflow.nodes), 0, claim.created_at, None, output=None, failure=None
        )
        row = replace(row, started_at=self._clock.now())
        walk = _Walk(claim, row, self._clock.now())
        telemetry.STARTED.labels("v1").inc()
        skipped: set[str] = set()
        failure: Failure | None = None
        for node in _in_order(workflow):
            walk.row = row = replace(row, current_node=node.id)
            walk.until = self._clock.now() + node.timeout
            if await self._updates.put(V1Update(claim.id, row, walk.until)):
                await self._end(claim, row, Status.CANCELLED)
                return
            try:
                outputs[node.id] = await self._step(walk, workflow, node, outputs, skipped)
            except (StepError, ExpressionError) as error:
                kind = error.kind if isinstance(error, StepError) else type(error).__name__
                message = error.message if isinstance(error, StepError) else str(error)
                failure = Failure(kind, message, retryable=False, node=node.id)
                break
            row = replace(row, done=row.done + 1)
        if failure is None:
            try:
                scope = expressions.scope(claim.id, claim.input, outputs)
                row = replace(row, output=expressions.evaluate(workflow.output, scope, "spec.output"))
            except ExpressionError as error:
                failure = Failure("ExpressionError", str(error))
        if failure is not None:
            log.error("V1 execution failed", execution=claim.id, node=failure.node, error=failure.message)
            await self._store.log_edge([f"ERROR execution {claim.id}: {failure.message}"], self._clock.now())
        await self._end(claim, replace(row, failure=failure), Status.FAILED if failure else Status.SUCCESS)

    async def _end(self, claim: Claim, row: Projection, status: Status) -> None:
        row = replace(row, status=status, finished_at=self._clock.now())
        await self._updates.put(V1Update(claim.id, row, None))
        telemetry.FINISHED.labels("v1", status.value).inc()
        if row.started_at and row.finished_at:
            telemetry.EXECUTION_SECONDS.labels("v1").observe((row.finished_at - row.started_at).total_seconds())

    async def _step(
        self, walk: _Walk, workflow: Workflow, node: Node, outputs: dict[str, Any], skipped: set[str]
    ) -> Any:
        path = f"spec.nodes[{workflow.position[node.id]}]"
        scope = expressions.scope(walk.claim.id, walk.claim.input, outputs)
        if node.id in skipped or passes_by(node, skipped):
            skipped.add(node.id)
            return None
        if node.when is not None and not expressions.evaluate_condition(node.when, scope, f"{path}.when"):
            skipped.add(node.id)
            return None
        began = time.perf_counter()
        try:
            output = await step(node, scope, path, skipped, partial(self._attempt, walk))
        except StepError:
            telemetry.STEPS.labels("v1", node.type, "failed").inc()
            telemetry.ENDED_STEPS.labels("v1", "failed", "0").inc()
            raise
        telemetry.STEPS.labels("v1", node.type, "success").inc()
        telemetry.ENDED_STEPS.labels("v1", "success", "0").inc()  # it never retries
        telemetry.STEP_SECONDS.labels("v1", node.type).observe(time.perf_counter() - began)
        return output

    async def _attempt(self, walk: _Walk, node: Node, with_: Any, item: str | None) -> Any:
        claim, now = walk.claim, self._clock.now()
        if node.type == "wait":
            due = wait.due(with_, now)
            await self._lasts(walk, node, due)
            await asyncio.sleep(max(0.0, (due - now).total_seconds()))
            return None
        await self._lasts(walk, node, now)
        context = StepContext(
            execution_id=claim.id,
            workflow_id=claim.workflow_id,
            namespace=claim.workflow_id.partition("/")[0],
            node_id=node.id,
            attempt=1,
            engine=Engine.V1,
            timeout=node.timeout,
            item=item,
        )
        return await self._runner.run(node, with_, context)

    async def _lasts(self, walk: _Walk, node: Node, begins: datetime) -> None:
        """Say that an attempt may take beyond what the row says (a wait, the later items of a map): an execution whose
        step should be over counts as left behind by a process that died. Some way ahead, so that it is seldom said.
        """
        if begins + node.timeout > walk.until:
            walk.until = begins + 2 * node.timeout
            await self._updates.put(V1Update(walk.claim.id, walk.row, walk.until))


def _in_order(workflow: Workflow) -> list[Node]:
    """As written where that is possible, needs first."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    place = {node.id: index for index, node in enumerate(workflow.nodes)}
    for node in workflow.nodes:
        sorter.add(node.id, *node.needs)
    sorter.prepare()
    order: list[Node] = []
    ready = sorted(sorter.get_ready(), key=place.__getitem__)
    while ready:
        node_id = ready.pop(0)
        order.append(workflow.by_id[node_id])
        sorter.done(node_id)
        ready = sorted([*ready, *sorter.get_ready()], key=place.__getitem__)
    return order
