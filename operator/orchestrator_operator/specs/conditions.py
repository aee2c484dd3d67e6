"""Conditions, as Kubernetes has them: one of each type, `lastTransitionTime` moves only when the status does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from orchestrator.errors import Problem

MESSAGE_LIMIT = 1024  # bytes: several conditions and a message stay far below 10 KB


class Condition(BaseModel):
    """One thing that is true, false or unknown of an object."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    type: Annotated[str, Field(description="What is said.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether it holds.")]
    reason: Annotated[str, Field(description="Why, as one CamelCase word.")] = ""
    message: Annotated[str, Field(description="Why, as a sentence that names the field.")] = ""
    last_transition_time: Annotated[str | None, Field(description="When the status last changed.")] = None
    observed_generation: Annotated[int | None, Field(description="The generation of the spec that it speaks of.")] = (
        None
    )


def condition(
    kind: str, status: bool | None, reason: str, message: str, *, at: datetime, generation: int | None = None
) -> dict[str, Any]:
    """A condition as the API has it; `status` None is Unknown."""
    found: dict[str, Any] = {
        "type": kind,
        "status": {True: "True", False: "False", None: "Unknown"}[status],
        "reason": reason,
        "message": clip(message),
        "lastTransitionTime": timestamp(at),
    }
    if generation is not None:
        found["observedGeneration"] = generation
    return found


def upsert(existing: Any, new: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conditions with the new ones in place; a status that did not change keeps its transition time.

    What is there may have been written by anybody: whatever is not a condition is dropped.
    """
    kept = {item["type"]: item for item in _readable(existing)}
    for item in new:
        before = kept.get(item["type"])
        same = before is not None and before.get("status") == item["status"] and before.get("lastTransitionTime")
        kept[item["type"]] = {**item, "lastTransitionTime": before["lastTransitionTime"]} if before and same else item
    return list(kept.values())


def find(status: Any, kind: str) -> dict[str, Any] | None:
    """The condition of that type in an object's status, if it is there and readable."""
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return next((item for item in _readable(conditions) if item["type"] == kind), None)


def same(existing: Any, new: dict[str, Any]) -> bool:
    """Whether the status says this already (the times apart)."""
    keys = ("status", "reason", "message", "observedGeneration")
    return existing is not None and all(existing.get(key) == new.get(key) for key in keys)


def tell(problems: Sequence[Problem]) -> str:
    """All findings in one message: `spec.nodes[2].needs[0]: …; spec.output: …`."""
    return "; ".join(str(problem) for problem in problems)


def clip(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """At most `limit` bytes of UTF-8, and it shows when something was cut. What JSON cannot carry is replaced."""
    clean = text.encode("utf-8", errors="replace")
    if len(clean) <= limit:
        return clean.decode()
    return clean[: limit - len("…".encode())].decode(errors="ignore") + "…"


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes its own."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _readable(conditions: Any) -> list[dict[str, Any]]:
    items = conditions if isinstance(conditions, list) else []
    return [item for item in items if isinstance(item, dict) and isinstance(item.get("type"), str)]
