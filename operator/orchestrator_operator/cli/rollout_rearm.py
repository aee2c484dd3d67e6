"""`orchestrator rollout rearm`: start again after a rollback, by an attempt that is one higher than every one before.

The only verb that writes the spec, for `spec.attempt` is a person's word there. Where Git owns the resource, the number
is to be raised in Git: `--dry-run` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli.options import Output, OutputOption, print_json
from orchestrator.errors import OrchestratorError
from orchestrator_operator.cli.rollout_asking import Context, Name, Namespace, ask
from orchestrator_operator.rollout.phases import OVER
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout import parse_rollout
from orchestrator_operator.specs.rollout_status import Phase, read_status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.specs.rollout_status import RolloutStatus

_TRIES: Final = 5  # of reading and writing, while somebody else writes the resource, too


@dataclass(frozen=True, slots=True)
class Rearmed:
    """The attempt that comes next, and when it may start (None: once the rollback is over, plus its cooldown)."""

    name: str
    attempt: int
    starts: datetime | None
    written: bool  # False: somebody raised it before, or it was only asked for

    def __str__(self) -> str:
        when = f"at {self.starts.isoformat(timespec='seconds')}" if self.starts else "a cooldown after the rollback"
        return f"{self.name}: attempt {self.attempt} may start {when}"


def rearm(
    name: Name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell the attempt that would come next.")] = False,
    namespace: Namespace = "",
    context: Context = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start again after a rollback, one stage below the one that failed, when the cooldown is over.

    Raises spec.attempt by one; typed twice it raises once. Exit code 1 where nothing was rolled back: abort first.

    Example: orchestrator rollout rearm v2
    """
    done = ask(lambda kubernetes: raise_attempt(kubernetes, name, namespace, dry_run=dry_run), context=context)
    if output is Output.JSON:
        starts = done.starts.isoformat() if done.starts else None
        print_json({"name": name, "attempt": done.attempt, "starts": starts, "written": done.written})
    else:
        typer.echo(f"{done}{'; nothing was written' if dry_run and not done.written else ''}")


async def raise_attempt(kubernetes: Kubernetes, name: str, namespace: str, *, dry_run: bool) -> Rearmed:
    """Write the next attempt, if the resource is still as it was read; raises OrchestratorError."""
    # Imported here: the client takes a second to import, which `--help` should not pay.
    from orchestrator_operator.adapters.kubernetes import Conflict  # noqa: PLC0415 - see above

    for _ in range(_TRIES):
        body = await kubernetes.get(ROLLOUTS, namespace, name)
        status, spec = read_status(body.get("status")), body.get("spec") or {}
        if status.phase not in OVER:
            raise OrchestratorError(_refusal(name, status))
        attempt, raised = next_attempt(spec, status)
        starts = _starts(spec, status)
        if raised or dry_run:
            return Rearmed(name, attempt, starts, written=False)
        change = {"metadata": {"resourceVersion": body["metadata"]["resourceVersion"]}, "spec": {"attempt": attempt}}
        try:
            await kubernetes.patch(ROLLOUTS, namespace, name, change)
        except Conflict:
            continue  # perhaps by ourselves, in a call whose answer was lost: look again
        return Rearmed(name, attempt, starts, written=True)
    raise OrchestratorError(f"{name}: it changes all the time: try again")


def next_attempt(spec: Mapping[str, Any], status: RolloutStatus) -> tuple[int, bool]:
    """The attempt that is to come, and whether the spec asks for it already. Pure."""
    asked = spec.get("attempt", 1)
    if not isinstance(asked, int):
        raise OrchestratorError(f"spec.attempt: {asked!r} is no number")
    return (asked, True) if asked > status.attempt else (status.attempt + 1, False)


def _starts(spec: Mapping[str, Any], status: RolloutStatus) -> datetime | None:
    if status.phase is not Phase.ROLLED_BACK or status.rolled_back_at is None:
        return None
    return status.rolled_back_at + parse_rollout(spec).rollback.cooldown


def _refusal(name: str, status: RolloutStatus) -> str:
    more = "orchestrator rollout abort rolls it back, and then it can be armed again"
    return f"{name}: it is {status.phase}, and only what was rolled back starts again: {more}"
