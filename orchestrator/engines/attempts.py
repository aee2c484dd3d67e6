"""One attempt of a step: from a decided run to the event that it became."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator import expressions, telemetry
from orchestrator.decide.starting import CHILD
from orchestrator.engines.children import Child, begin_child
from orchestrator.errors import ExpressionError, StepError
from orchestrator.model import Engine, Failure
from orchestrator.nodes.base import StepContext
from orchestrator.nodes.registry import DETACHED
from orchestrator.retry import decide_retry

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.decide import RunNode
    from orchestrator.engines.tools import Tools
    from orchestrator.model import Execution, Trace
    from orchestrator.store.messages import Submission


@dataclass(frozen=True, slots=True)
class Attempted:
    """What an attempt became: its event, and the child execution that is to be made with it."""

    event: e.Event
    submission: Submission | None = None


async def traced(run: RunNode, state: Execution, tools: Tools) -> Attempted:
    """The same within a span, which the requests of the attempt name as their parent."""
    if tools.tracing is None:
        return await attempt(run, state, tools)
    with tools.tracing.attempt(state, run) as span:
        attempted = await attempt(run, state, tools, span.trace)
        span.became(attempted.event)
    return attempted


async def attempt(run: RunNode, state: Execution, tools: Tools, trace: Trace | None = None) -> Attempted:
    """Make one attempt; its failure is an event, too. Raises CancelledError alone, if the caller is cancelled.

    Its requests say that they are in `trace`, or else in the one that the execution was asked for in.
    """
    node, started = run.node, tools.clock.now()
    labels = ("v2", node.type)
    began = time.perf_counter()
    try:
        if node.type == CHILD:
            child: Child = await begin_child(run, state, tools)
            return Attempted(child.event, child.submission)
        context = _context(run, state, trace)
        if node.type in DETACHED and (record := await tools.store.get(state.id)) is not None:
            context = replace(context, resource=record.name)
        output = await tools.runner.run(node, run.with_, context)
        if node.output is not None:
            output = expressions.evaluate(node.output, {**run.scope, "result": output}, f"node {run.key}: output")
    except (StepError, ExpressionError) as error:
        took = time.perf_counter() - began
        telemetry.STEPS.labels(*labels, "failed").inc()
        telemetry.STEP_SECONDS.labels(*labels).observe(took)
        return Attempted(_failed(run, state, tools, error, started, took))
    took = time.perf_counter() - began
    measures = tools.step_measures(node.type)
    measures.succeeded.inc()
    measures.seconds.observe(took)
    return Attempted(
        e.StepCompleted(
            tools.clock.now(),
            node.id,
            node.type,
            run.attempt,
            output,
            started,
            took * 1000,
            run.item,
            undo=run.undo,
        )
    )


def _context(run: RunNode, state: Execution, trace: Trace | None) -> StepContext:
    return StepContext(
        execution_id=state.id,
        workflow_id=state.workflow_id,
        namespace=state.workflow_id.partition("/")[0],
        node_id=run.node.id,
        attempt=run.attempt,
        engine=Engine.V2,
        timeout=run.node.timeout,
        item=run.item,
        key=run.idempotency_key,
        trace=trace or state.trace,
    )


def _failed(
    run: RunNode,
    state: Execution,
    tools: Tools,
    error: StepError | ExpressionError,
    started: datetime,
    took: float,
) -> e.StepFailed:
    node, now = run.node, tools.clock.now()
    if isinstance(error, StepError):
        failure = Failure(error.kind, error.message, error.retryable, node.id, error.status)
        wait = error.retry_after
    else:
        failure, wait = Failure("ExpressionError", str(error), node=node.id), None
    retry = decide_retry(
        node.retry,
        failure,
        attempt=run.attempt,
        first_started_at=state.step(run.key).first_started_at or started,
        now=now,
        chance=tools.chance.random(),
        retry_after=wait,
    )
    return e.StepFailed(
        now, node.id, node.type, run.attempt, failure, started, took * 1000, retry.at, run.item, undo=run.undo
    )
