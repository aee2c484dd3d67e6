"""Appends and submissions as the JSON texts that PostgreSQL's functions take (migrations/functions).

They are put together by hand: an event's data are JSON already, and are neither parsed nor encoded again.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from json.encoder import encode_basestring as quote
from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator.model import OnLimit
from orchestrator.store import codec, drafts
from orchestrator.store.codec import moment_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.store.drafts import Draft
    from orchestrator.store.messages import Append, Delivery


@dataclass(frozen=True, slots=True)
class Appends:
    """The arguments of orchestrator_append_1, and the appends in the order of its answers."""

    order: list[Append]
    rows: str
    events: str
    ended: list[str]
    more: str | None


def appends(batch: Sequence[Append]) -> Appends:
    """A flush; raises InvalidPayload."""
    order = sorted(batch, key=lambda append: append.execution_id)
    rows: list[str] = []
    events: list[str] = []
    ended: list[str] = []
    more = False
    for number, append in enumerate(order, 1):
        rows.append(_row(number, append))
        _events(events, number, append)
        if append.projection.finished_at is not None:
            ended.append(append.execution_id)
        more = more or bool(append.submissions or append.deliveries)
    return Appends(order, _array(rows), _array(events), ended, _more(order) if more else None)


def _row(number: int, append: Append) -> str:
    row = append.projection
    text = (
        f'{{"n":{number},"id":{quote(append.execution_id)},"append":{quote(append.append_id)},"fence":{append.fence},'
        f'"first":{append.first_seq},"last":{append.first_seq + len(append.events) - 1},"status":"{row.status}",'
        f'"node":{quote(row.current_node)},"done":{row.done},"total":{row.total},"retries":{row.retries}'
    )
    if row.started_at is not None:
        text += f',"started_at":"{moment_text(row.started_at)}"'
    if append.step_deadline is not None:
        text += f',"step_deadline":"{moment_text(append.step_deadline)}"'
    if append.release:
        text += ',"release":true'
        if append.due_at is not None and row.finished_at is None:
            text += f',"due_at":"{moment_text(append.due_at)}"'
    if row.finished_at is not None:
        text += f',"finished_at":"{moment_text(row.finished_at)}"'
    if row.output is not None:
        text += f',"output":{drafts.output_text(append)}'
    if row.failure is not None:
        text += f',"error":{drafts.error_text(append)}'
    return text + "}"


def _events(events: list[str], number: int, append: Append) -> None:
    id_, first = quote(append.execution_id), append.first_seq
    timed = ""
    if append.timed_append is not None:
        timed = f',"timed_append":{append.timed_append},"timed_ms":{append.timed_ms}'
    for seq, (event, data) in enumerate(zip(append.events, append.data, strict=True), first):
        step = ""
        if isinstance(event, e.OF_A_NODE):
            step = f',"node":{quote(event.node)},"node_type":{quote(event.node_type)}'
            attempt = getattr(event, "attempt", None)
            if attempt is not None:
                step += f',"attempt":{attempt}'
        events.append(
            f'{{"n":{number},"id":{id_},"seq":{seq},"first":{first},"type":"{type(event).__name__}",'
            f'"at":"{moment_text(event.at)}","data":{data}{step}{timed}}}'
        )
        timed = ""


def _more(order: Sequence[Append]) -> str:
    """What appends do to others: see orchestrator_append_1."""
    numbers = {id(append): number for number, append in enumerate(order, 1)}
    made = [(numbers[id(append)], child) for append, child in drafts.children(order)]
    told = [(number, delivery) for number, append in enumerate(order, 1) for delivery in append.deliveries]
    children = [child for _, child in made]
    ids = [delivery.execution_id for _, delivery in told] + parents(children)
    return (
        f'{{"ids":{json.dumps(ids)},"limits":{limits(children) or "[]"},'
        f'"rows":{_array(_draft(child, number) for number, child in made)},'
        f'"events":{_array(text for number, child in made for text in _first_events(child, number))},'
        f'"lines":{_array(_line(child) for child in children if child.log_line)},'
        f'"at":{json.dumps(moment_text(max((child.at for child in children), default=None)))},'
        f'"deliveries":{_array(_delivery(delivery, number) for number, delivery in told)}}}'
    )


def submissions(batch: Sequence[Draft]) -> tuple[str, str, str | None, str | None, list[str]]:
    """The arguments of orchestrator_submit_1: rows, events, log lines, limits, and who else may be touched."""
    lines = [_line(draft) for draft in batch if draft.log_line]
    rows = _array(_draft(draft) for draft in batch)
    events = _array(text for draft in batch for text in _first_events(draft))
    return rows, events, _array(lines) if lines else None, limits(batch), parents(batch)


def deliveries(batch: Iterable[Delivery]) -> str:
    return _array(_delivery(delivery) for delivery in batch)


def limits(batch: Sequence[Draft]) -> str | None:
    """The limits that a batch is under, one object a key; what the last submission of a key says counts."""
    found = {draft.limit.key: draft.limit for draft in batch if draft.limit is not None}
    if not found:
        return None
    replacing = Counter(d.limit.key for d in batch if d.limit is not None and d.limit.policy is OnLimit.REPLACE)
    return json.dumps(
        [
            {"key": key, "workflow_id": limit.workflow_id, "slots": limit.slots, "replacing": replacing[key]}
            for key, limit in found.items()
        ]
    )


def parents(batch: Iterable[Draft]) -> list[str]:
    """Who is told when a child is skipped."""
    return [d.parent for d in batch if d.parent is not None and d.limit is not None and d.limit.policy is OnLimit.SKIP]


def _draft(draft: Draft, number: int = 0) -> str:
    columns: dict[str, Any] = {"n": number}
    raw = ""
    for name, value in draft.columns.items():
        if value is None:
            continue
        if name in ("input", "ages"):
            raw += f',"{name}":{value}'
        else:
            columns[name] = moment_text(value) if name.endswith("_at") else value
    if draft.limit is not None:
        columns["policy"] = draft.limit.policy.value
        if draft.limit.policy is OnLimit.SKIP:
            raw += f',"skipped":{drafts.skipped(draft)[1]}'
            if draft.parent is not None:
                raw += f',"ended":{_told(draft.parent, drafts.told_of_skip(draft), number)}'
    return json.dumps(columns, ensure_ascii=False)[:-1] + raw + "}"


def _first_events(draft: Draft, number: int = 0) -> Iterable[str]:
    for seq, (event, data) in enumerate(draft.events, 1):
        step = ""
        if isinstance(event, e.OF_A_NODE):
            step = f',"node":{quote(event.node)},"node_type":{quote(event.node_type)}'
        elif (key := codec.delivery_key(event)) is not None:
            step = f',"delivery":{quote(key)}'
        yield (
            f'{{"n":{number},"id":{quote(draft.id)},"seq":{seq},"type":"{type(event).__name__}",'
            f'"at":"{moment_text(event.at)}","data":{data}{step}}}'
        )


def _line(draft: Draft) -> str:
    return f'{{"id":{quote(draft.id)},"line":{quote(draft.log_line)}}}'


def _delivery(delivery: Delivery, number: int = 0) -> str:
    return _told(delivery.execution_id, delivery.event, number)


def _told(execution_id: str, event: e.OutsideEvent, number: int) -> str:
    text = (
        f'{{"n":{number},"id":{quote(execution_id)},"type":"{type(event).__name__}","at":"{moment_text(event.at)}",'
        f'"data":{codec.encode(event)}'
    )
    key = codec.delivery_key(event)
    return f'{text},"delivery":{quote(key)}}}' if key is not None else text + "}"


def _array(texts: Iterable[str]) -> str:
    return f"[{','.join(texts)}]"
