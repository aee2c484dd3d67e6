"""What to do with an Execution resource: a pure function of everything that was read about it.

deleting                       → Cancel (if the store runs it)
the store knows it             → Steer (pass on cancel, suspend, resume, requests; repair an Unknown phase)
accepted once, but not known   → Lost: nothing runs again (promise 11)
something is wrong with it     → Refuse, with the field's path
older than the store, restored → Submit, suspended
else                           → Submit
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.authoring import check_input
from orchestrator.errors import InvalidInput, Problem
from orchestrator.model import Engine
from orchestrator.store.messages import Control
from orchestrator_operator.handlers.forking import Origin, fork_of
from orchestrator_operator.specs.conditions import find
from orchestrator_operator.specs.execution import ExecutionSpec, parse_execution

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.forks import Fork
    from orchestrator.model import Trace, Workflow
    from orchestrator.store.records import ExecutionRecord
    from orchestrator_operator.specs.requests import Asked

RESUME = "orchestrator.dev/resume"
TRACEPARENT, TRACESTATE = "orchestrator.dev/traceparent", "orchestrator.dev/tracestate"
RESTORED_LABELS = ("orchestrator.dev/restored", "velero.io/restore-name")


@dataclass(frozen=True, slots=True)
class Seen:
    """An Execution resource as it was read; `spec` and `status` may hold anything."""

    uid: str
    version: str  # resourceVersion
    namespace: str
    name: str
    generation: int
    created: datetime
    deleting: bool
    restored: bool  # a backup tool brought it back
    resume: str | None  # the annotation's value
    spec: Any
    status: dict[str, Any]
    trace: Trace | None = None  # that its creator noted in an annotation
    requests: tuple[Asked, ...] = ()  # signals and approvals by annotations

    @property
    def accepted(self) -> bool:
        """Whether its status says that an engine took it once. Only our own bookkeeping is no such claim."""
        said = find(self.status, "Accepted")
        if said is not None:
            return said.get("status") == "True"
        return bool(self.status.keys() - {"handled", "conditions"})

    @property
    def handled(self) -> dict[str, Any]:
        value = self.status.get("handled")
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A Workflow resource as the operator understands it now: runnable, or what is wrong with it."""

    workflow: Workflow | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Nothing:
    """It is as it should be."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """The resource goes away: so does the execution."""


@dataclass(frozen=True, slots=True)
class Steer:
    """Pass these on, in this order; then remember `handled`."""

    controls: tuple[Control, ...]
    handled: dict[str, Any]
    rewrite: bool = False  # the status says Unknown although the store knows it (it was restored, too)
    requests: bool = False  # answer those that stand on the resource


@dataclass(frozen=True, slots=True)
class Lost:
    """Accepted once, unknown to the store: phase Unknown, and nothing runs."""

    was: str  # the phase that the status told before


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot be run as it is: condition Accepted=False."""

    reason: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Submit:
    """Route it and hand it to an engine."""

    spec: ExecutionSpec
    workflow: Workflow
    suspended: str | None = None  # a reason: it waits for a person
    controls: tuple[Control, ...] = ()  # to pass on right after
    handled: dict[str, Any] | None = None  # to remember before
    fork: Fork | None = None  # it goes on from another one


Decision = Nothing | Cancel | Steer | Lost | Refuse | Submit


def settled(seen: Seen) -> bool:
    """Of an execution that the store knows: nothing is asked of us. Spares a look into the store for most changes."""
    spec = seen.spec if isinstance(seen.spec, dict) else {}
    return not (
        seen.deleting
        or spec.get("cancel") is True
        or _suspend_changed(seen, spec)
        or _resume_asked(seen)
        or seen.requests
        or seen.status.get("phase") == "Unknown"
    )


def decide(
    seen: Seen,
    record: ExecutionRecord | None,
    workflow: Compiled | None,
    epoch: datetime,
    origin: Origin | None = None,
) -> Decision:
    """See the module. `workflow` is None when there is no such resource; `epoch` is when the store was made; `origin`
    is what `spec.from` names, as it was found.
    """
    if seen.deleting:
        return Cancel() if record is not None and not record.status.terminal else Nothing()
    if record is not None:
        return _steer(seen, record)
    if seen.accepted:
        return _lost(seen)
    try:
        spec = parse_execution(seen.spec)
        runnable = _runnable(spec, workflow)
        if isinstance(runnable, Refuse):
            return runnable
        fork = None
        if spec.from_ is None:
            check_input(runnable, spec.input)
        else:
            fork = fork_of(seen.uid, spec, runnable, origin)
    except InvalidInput as error:
        return Refuse(_reason(error.problems), error.problems)
    return replace(_submit(seen, spec, runnable, epoch), fork=fork)


def _steer(seen: Seen, record: ExecutionRecord) -> Decision:
    rewrite = seen.status.get("phase") == "Unknown"
    spec = seen.spec if isinstance(seen.spec, dict) else {}
    handled: dict[str, Any] = {}
    controls: list[Control] = []
    if not record.status.terminal:
        # V1's process may have died since: then the next request ends what it left behind.
        if spec.get("cancel") is True and (not record.cancel_requested or record.engine is Engine.V1):
            controls.append(Control.CANCEL)
        if _suspend_changed(seen, spec):
            wanted = spec.get("suspend") is True
            controls.append(Control.SUSPEND if wanted else Control.RESUME)
            handled["suspend"] = wanted
        if _resume_asked(seen):
            controls.append(Control.RESUME)
            handled["resume"] = seen.resume
    if not controls and not handled and not rewrite and not seen.requests:
        return Nothing()
    return Steer(tuple(controls), handled, rewrite, requests=bool(seen.requests))


def _suspend_changed(seen: Seen, spec: dict[str, Any]) -> bool:
    """Only a change of spec.suspend is passed on: a suspension of another origin (restored, by the CLI) stays."""
    return (spec.get("suspend") is True) != (seen.handled.get("suspend") is True)


def _resume_asked(seen: Seen) -> bool:
    return seen.resume is not None and seen.resume != seen.handled.get("resume")


def _lost(seen: Seen) -> Decision:
    was = str(seen.status.get("phase") or "accepted")
    return Nothing() if was == "Unknown" and seen.status.get("reason") == "StoreMissing" else Lost(was)


def _runnable(spec: ExecutionSpec, workflow: Compiled | None) -> Workflow | Refuse:
    if workflow is None:
        message = f"there is no Workflow {spec.workflow!r} in this namespace: apply it, and this execution starts"
        return Refuse("WorkflowNotFound", (Problem("spec.workflow", message),))
    if workflow.workflow is None:
        found = "; ".join(str(problem) for problem in workflow.problems)
        message = f"the Workflow {spec.workflow!r} is not valid ({found}): correct it, and this execution starts"
        return Refuse("WorkflowInvalid", (Problem("spec.workflow", message),))
    return workflow.workflow


def _reason(problems: tuple[Problem, ...]) -> str:
    first = problems[0].path if problems else ""
    if first.startswith("spec.from"):
        return "ForkRefused"
    return (
        "InvalidInput" if first == "spec.input" or first.startswith(("spec.input.", "spec.input[")) else "InvalidSpec"
    )


def _submit(seen: Seen, spec: ExecutionSpec, workflow: Workflow, epoch: datetime) -> Submit:
    handled: dict[str, Any] = {}
    controls: tuple[Control, ...] = ()
    suspended: str | None = None
    if spec.suspend:
        suspended, handled["suspend"] = "SuspendedBySpec", True
    if seen.restored or seen.created < epoch.replace(microsecond=0):
        suspended = "Restored"
    if spec.cancel:
        suspended = suspended or "CancelledBySpec"  # so that no step can start between the two commits
        controls = (Control.CANCEL,)
    if seen.resume is not None:
        handled["resume"] = seen.resume  # it stood there before this life of the execution: it resumes nothing
    return Submit(spec, workflow, suspended, controls, handled or None)
