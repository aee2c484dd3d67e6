"""Child executions: how a `workflow` step begins one, and how its end is told to the parent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator import events as e
from orchestrator import forks
from orchestrator.authoring import check_input
from orchestrator.errors import ExpressionError, InvalidInput, InvalidPayload, StepError
from orchestrator.fold import fold
from orchestrator.limits import limit_key
from orchestrator.model import Assignment, Engine
from orchestrator.nodes.child import ChildNode, child_id
from orchestrator.payloads import check_size
from orchestrator.store.codec import dump_json
from orchestrator.store.messages import Delivery, Submission

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.decide import RunNode
    from orchestrator.engines.tools import Tools
    from orchestrator.forks import Fork
    from orchestrator.model import Execution, Workflow

DEEPEST: Final = 16  # generations: a workflow that calls itself must end somewhere


@dataclass(frozen=True, slots=True)
class Child:
    """A child's beginning, in the parent's history and as the submission that makes it."""

    event: e.ChildStarted
    submission: Submission


async def begin_child(run: RunNode, state: Execution, tools: Tools) -> Child:
    """The child that an attempt of a `workflow` step begins; raises StepError."""
    parsed: Any = ChildNode.parse(run.with_)
    namespace = state.workflow_id.partition("/")[0]
    workflow = await tools.store.current(f"{namespace}/{parsed.workflow}")
    if workflow is None:
        message = f"with.workflow: there is no workflow {parsed.workflow!r} in namespace {namespace!r}"
        raise StepError("UnknownWorkflow", message, retryable=True)  # it may be applied in a moment
    if state.depth + 1 > DEEPEST:
        raise StepError("TooDeep", f"{DEEPEST} generations of child executions are allowed", retryable=False)
    try:
        check_input(workflow, parsed.input)
    except InvalidInput as error:
        found = "; ".join(str(problem) for problem in error.problems)
        raise StepError("InvalidInput", f"{workflow.id}: {found}", retryable=False) from None
    _check_fits(workflow, parsed.input)
    child = child_id(f"{state.id}/{run.key}", run.attempt)  # never another execution's child: that one ended for it
    fork = await _repetition(run, state, tools, child, Wanted(workflow, parsed.input))
    if fork is not None:
        workflow = fork.workflow
    submission = Submission(
        id=child,
        workflow=workflow,
        engine=Engine.V2,
        assignment=Assignment.EXPLICIT,  # its parent's engine: no coin of its own was tossed
        input=parsed.input,
        parent=state.id,
        depth=state.depth + 1,
        trace=tools.tracing.child(state, run) if tools.tracing is not None else state.trace,
        lineage=fork.lineage if fork else None,
        carried=fork.carried if fork else (),
    )
    event = e.ChildStarted(
        tools.clock.now(), run.node.id, ChildNode.name, run.attempt, child, workflow.id, workflow.revision, run.item
    )
    return Child(event, submission)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a child is to run now."""

    workflow: Workflow
    input: Any


async def _repetition(run: RunNode, state: Execution, tools: Tools, child: str, wanted: Wanted) -> Fork | None:
    """In an execution that repeats another one: the repetition of that one's child, so that what its steps have done
    is not done again. None for a child of its own. Raises StepError.
    """
    known = dict(state.lineage.children).get(run.key) if state.lineage is not None and run.attempt == 1 else None
    if known is None:
        return None
    history = await tools.store.events(known)
    if not history:
        message = f"child execution {known}, which this one is to repeat, is not kept any more; begin a new execution"
        raise StepError("ChildForgotten", message, retryable=False)
    old = fold(known, history)
    if old.workflow_id != wanted.workflow.id or old.input != wanted.input:
        return None
    try:
        return forks.replay(await tools.store.workflow(old.workflow_id, old.revision), old, child, tools.clock.now())
    except InvalidInput as error:
        raise StepError("ChildNotOver", f"child execution {known}: {error}", retryable=True) from None


def _check_fits(workflow: Workflow, value: Any) -> None:
    """Raise StepError for an input that the store would refuse in the commit that makes the child."""
    try:
        check_size(dump_json(value, "with.input"), "with.input")
        limit_key(workflow, value)
    except (InvalidPayload, ExpressionError) as error:
        raise StepError(type(error).__name__, f"{workflow.id}: {error}", retryable=False) from None


def end_for_parent(state: Execution, now: datetime) -> tuple[Delivery, ...]:
    """What the parent is told, in the commit that ends a child."""
    if state.parent is None or not state.status.terminal:
        return ()
    ended = e.ChildEnded(now, state.id, state.status, state.output, state.failure)
    return (Delivery(state.parent, ended),)
