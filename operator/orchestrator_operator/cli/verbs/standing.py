"""How an Execution resource stands, and how that is told: in a line, in JSON, by an exit code. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator_operator.specs.conditions import find

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_ENDS: Final = frozenset({"Success", "Failed", "Cancelled"})
_COMMAND: Final = "kubectl orchestrator"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a reader wants to know of a resource; "" and None where it does not say."""

    name: str
    phase: str
    engine: str
    node: str
    progress: str
    retries: int
    reason: str
    message: str
    accepted: bool | None  # None: nobody has looked at it yet
    duration: str = ""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Standing:
        """What stands in the resource; whatever is not as it should be counts as silence."""
        status = body.get("status")
        status = status if isinstance(status, dict) else {}

        def text(key: str) -> str:
            return value if isinstance(value := status.get(key), str) else ""

        says = (find(status, "Accepted") or {}).get("status")
        retries = status.get("retries")
        return cls(
            name=str(body["metadata"]["name"]),
            phase=text("phase"),
            engine=text("engine"),
            node=text("currentNode"),
            progress=text("progress"),
            retries=retries if isinstance(retries, int) else 0,
            reason=text("reason"),
            message=text("message"),
            accepted={"True": True, "False": False}.get(str(says)),
            duration=text("duration"),
        )

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.phase in _ENDS

    @property
    def refused(self) -> bool:
        """Whether it does not run as it is: the operator refused it."""
        return self.accepted is False and not self.over

    @property
    def rests(self) -> bool:
        """Whether nothing more comes by itself: it is over, refused, or the store does not know it."""
        return self.over or self.refused or self.phase == "Unknown"


def exit_code(now: Standing) -> int:
    """As `orchestrator run` ends: 0 for success, 1 for any other end."""
    return 0 if now.phase == "Success" else 1


def line(before: Standing | None, now: Standing, nodes: Mapping[str, Mapping[str, Any]], at: datetime) -> str | None:
    """What changed, in one line with its moment; None when a reader sees no change."""
    said = change(before, now, nodes)
    return None if said is None else f"{at:%H:%M:%S} {said}"


def change(before: Standing | None, now: Standing, nodes: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What changed; None when a reader sees no change. `nodes` are the workflow's, by their ids."""
    if before is not None and _visible(before) == _visible(now):
        return None
    where = [
        f"on {now.engine}" if now.engine and (before is None or not before.engine) else "",
        f"at {now.node}" if now.node and not now.over else "",
        now.progress,
        f"{now.retries} {'retry' if now.retries == 1 else 'retries'}" if now.retries else "",
        f"after {now.duration}" if now.over and now.duration else "",
    ]
    told = ", ".join(part for part in where if part)
    rest = ": ".join(part for part in (told, why(now, nodes)) if part)
    return f"{now.phase or 'Created':<12} {rest}".rstrip()


def why(now: Standing, nodes: Mapping[str, Mapping[str, Any]]) -> str:
    """Why it waits, ended or does not begin; what a person can do about it."""
    if now.refused:
        return f"refused ({now.reason}): {now.message}"
    if now.phase == "Suspended":
        return f"{now.reason or 'by a person'}; `{_COMMAND} resume {now.name}` lets it go on"
    if now.phase == "Waiting":
        return waits(now, nodes.get(now.node) or {})
    return now.message


def waits(now: Standing, node: Mapping[str, Any]) -> str:
    """What a waiting node waits for, as far as the workflow tells it."""
    kind, with_ = node.get("type"), node.get("with")
    with_ = with_ if isinstance(with_, dict) else {}
    match kind:
        case "approval":
            return f"for an approval; `{_COMMAND} approve {now.name} {now.node}`"
        case "signal":
            name = str(with_.get("name") or now.node)
            return f"for the signal {name}; `{_COMMAND} signal {now.name} {name} --payload …`"
        case "wait":
            until = with_.get("duration") or with_.get("until")
            return f"for {until} to pass" if "duration" in with_ else f"until {until}"
        case "workflow":
            return f"for an execution of {with_.get('workflow')}"
        case _:
            return now.message


def nodes_of(workflow: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The nodes of a Workflow resource, by their ids."""
    spec = workflow.get("spec")
    found = spec.get("nodes") if isinstance(spec, dict) else None
    nodes = found if isinstance(found, list) else []
    return {str(node["id"]): node for node in nodes if isinstance(node, dict) and "id" in node}


def described(body: Mapping[str, Any]) -> dict[str, Any]:
    """An Execution resource as JSON: `orchestrator run`'s keys, and the resource's own."""
    now, status = Standing.of(body), body.get("status") or {}
    failed = now.phase in ("Failed", "Unknown") or now.refused
    return {
        "id": body["metadata"]["uid"],
        "name": now.name,
        "namespace": body["metadata"]["namespace"],
        "workflow": (body.get("spec") or {}).get("workflow"),
        "engine": now.engine or None,
        "status": (now.phase or "Pending").lower(),
        "accepted": now.accepted,
        "node": now.node or None,
        "progress": now.progress or None,
        "retries": now.retries,
        "output": status.get("output"),
        "outputReference": status.get("outputReference"),
        "error": {"kind": now.reason or None, "message": now.message} if failed else None,
    }


def _visible(standing: Standing) -> tuple[Any, ...]:
    return (standing.phase, standing.node, standing.progress, standing.retries, standing.reason, standing.message)
