"""`map`: does one thing for each element of a list; every item is a step of its own, tracked by its key.

Its output is `{results, failures}`: what each item gave, in the list's order (null for one that failed), and for each
that failed `{key, kind, message}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence  # noqa: TC003 - pydantic reads annotations at run time
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestrator.errors import StepError
from orchestrator.nodes.base import OrExpression, With
from orchestrator.nodes.decided import Decided

MOST_ITEMS: Final = 100_000
_KEY: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
_PERCENT: Final = re.compile(r"^(100|[0-9]{1,2})%$")


def _tolerance(value: int | str) -> int | str:
    if isinstance(value, str) and not _PERCENT.match(value):
        raise ValueError("must be a number of items, or a share such as 10%")
    return value


class DoSpec(BaseModel):
    """What is done for each item: a node's type, `with`, and what else differs from the map's own."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    type: str = Field(description="A type that does work: http, python, transform or workflow.")
    with_: dict[str, Any] = Field(
        default_factory=dict, alias="with", description="As in a node; `item` is the element."
    )
    output: Any = Field(default=None, description="What stands for the item's output; `result` is what it gave.")


class MapWith(With):
    """A list, and what to do with each of its elements."""

    items: Annotated[list[Any], OrExpression] = Field(description="The list, as a rule one ${ … }.")
    key: str | None = Field(
        default=None,
        description="One ${ … } over `item` that tells the items apart: letters, digits, '_', '.', '-'; by default "
        "the place in the list.",
    )
    concurrency: int = Field(default=10, ge=1, le=1000, description="How many items are done at once.")
    tolerate: Annotated[int, Field(ge=0)] | Annotated[str, AfterValidator(_tolerance)] = Field(
        default=0, description="How many items may fail, as a number or a share (10%); one more fails the map."
    )
    do: DoSpec = Field(description="What is done for each item.")


class MapNode(Decided[MapWith]):
    """The items run beside each other, up to `concurrency`."""

    name: ClassVar[str] = "map"
    With = MapWith


def check_items(items: Any) -> list[Any]:
    """The list that `items` gave; raises StepError."""
    if not isinstance(items, list):
        raise StepError("InvalidWith", f"with.items must be a list, and gave {type(items).__name__}", retryable=False)
    if len(items) > MOST_ITEMS:
        message = f"with.items has {len(items)} elements; {MOST_ITEMS} are allowed"
        raise StepError("InvalidWith", message, retryable=False)
    return items


def check_keys(keys: Sequence[Any]) -> tuple[str, ...]:
    """The items' keys as text; raises StepError for one that is unfit, or stands twice."""
    found: dict[str, int] = {}
    for index, key in enumerate(keys):
        text = key if isinstance(key, str) else str(key)
        if isinstance(key, bool) or not isinstance(key, str | int) or not _KEY.match(text):
            message = (
                f"with.key of items[{index}] is {text[:80]!r}: letters, digits, '_', '.' and '-' only, at most 128"
            )
            raise StepError("InvalidWith", message, retryable=False)
        if text in found:
            message = f"with.key is {text!r} for items[{found[text]}] and items[{index}]: keys must differ"
            raise StepError("InvalidWith", message, retryable=False)
        found[text] = index
    return tuple(found)


def tolerated(with_: Mapping[str, Any], items: int) -> int:
    """How many of so many items may fail."""
    tolerate = with_.get("tolerate", 0)
    return items * int(tolerate[:-1]) // 100 if isinstance(tolerate, str) else int(tolerate)


def concurrency(with_: Mapping[str, Any]) -> int:
    """How many items may be done at once."""
    return int(with_.get("concurrency", 10))
