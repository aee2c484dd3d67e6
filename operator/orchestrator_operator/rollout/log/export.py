"""A log of decisions as a file: a line of JSON a row, and a last one that says where the log ended. Pure.

Without its last line a file whose end was cut off would look whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.rollout.log import chain
from orchestrator_operator.rollout.log.chain import NOWHERE
from orchestrator_operator.specs.rollout_status import DecisionHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orchestrator.store.evidence import DecisionRow


def lines(rows: Sequence[DecisionRow]) -> Iterator[str]:
    """The lines of a file, without their ends."""
    for row in rows:
        yield json.dumps(chain.to_json(row), ensure_ascii=False)
    head = DecisionHead(number=rows[-1].number, hash=rows[-1].hash) if rows else NOWHERE
    yield json.dumps({"head": head.model_dump()})


def read(text: Iterable[str], path: str) -> tuple[list[DecisionRow], DecisionHead | None]:
    """The rows of a file and the end that its last line names, if it has one. Raises InvalidInput with the line."""
    rows: list[DecisionRow] = []
    head: DecisionHead | None = None
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            if isinstance(raw, dict) and raw.keys() == {"head"}:
                head = DecisionHead.model_validate(raw["head"])
            else:
                rows.append(chain.from_json(raw))
                head = None  # what stands behind the last line belongs to no export
        except (ValueError, KeyError, TypeError) as error:
            what = f"not a line that `orchestrator rollout history --output jsonl` wrote: {error}"
            raise InvalidInput([Problem(f"{path}:{number}", what)]) from None
    return rows, head
