"""`orchestrator executions show` and `events`: one execution, for people first."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from orchestrator.cli.executions.common import Id, app, ask, describe, found, show_failure
from orchestrator.cli.executions.drawing import draw, line_json
from orchestrator.cli.options import Database, Output, OutputOption, examples, print_json
from orchestrator.decide import decide
from orchestrator.events import Recorded
from orchestrator.insight import Seen, explain
from orchestrator.model import Engine, Failure, Lineage
from orchestrator.settings import Settings
from orchestrator.steering import with_history
from orchestrator.store import ExecutionRecord, Store
from orchestrator.store.codec import dump_data, type_name
from orchestrator.store.records import Filter
from orchestrator.timeline import Line, timeline
from orchestrator.wording import count, moment

_RELATED = 1000  # forks and children that are looked for
_NAMED = 5  # of them, those that are shown to people
_QUEUE = 10_000  # executions of the same limit that are counted


@dataclass(frozen=True, slots=True)
class Shown:
    """An execution with all that is told about it."""

    seen: Seen
    why: str
    lineage: Lineage | None
    forks: tuple[ExecutionRecord, ...]
    children: tuple[ExecutionRecord, ...]
    lines: tuple[Line, ...]

    @property
    def record(self) -> ExecutionRecord:
        return self.seen.record


@app.command(epilog=examples("orchestrator executions show 0b7c…", "orchestrator executions show 0b7c… --output json"))
def show(
    execution_id: Id,
    database: Database = None,
    timeline_: Annotated[
        bool, typer.Option("--timeline/--no-timeline", help="With what each step did, and when.")
    ] = True,
    output: OutputOption = Output.TABLE,
) -> None:
    """One execution: why it waits or what it does, where it comes from, and what its steps did."""
    shown = ask(database, lambda store: look(store, execution_id, datetime.now(UTC)))
    if output is Output.JSON:
        print_json(_described(shown))
    else:
        _print(shown, with_timeline=timeline_)


async def look(store: Store, execution_id: str, now: datetime) -> Shown:
    """Everything that is told of an execution; raises UnknownExecution."""
    record, lease = found(await store.get(execution_id), execution_id), Settings.read().lease
    if record.engine is Engine.V1:
        seen = Seen(record, now, lease)
        return Shown(seen, explain(seen), None, (), (), ())
    known = await with_history(store, record)
    record = known.record
    forks = await store.executions(Filter(origin=record.id, limit=_RELATED))
    children = await store.executions(Filter(parent=record.id, limit=_RELATED))
    again = next((fork.id for fork in forks if fork.revision == record.revision), None)
    before = await _before(store, record) if record.queued else 0
    seen = Seen(record, now, lease, known.workflow, known.history, known.execution, before, again)
    flying = record.owner is not None and not record.status.terminal
    in_flight = [run.key for run in decide(known.workflow, known.execution, (), now).runs] if flying else []
    lines = timeline(known.workflow, known.history, in_flight)
    return Shown(seen, explain(seen), known.execution.lineage, tuple(forks), tuple(children), tuple(lines))


async def _before(store: Store, record: ExecutionRecord) -> int:
    """How many are queued under the same limit and older."""
    queued = await store.executions(Filter(record.workflow_id, queued=True, limit=_QUEUE))
    place = (record.created_at, record.id)
    return sum(other.limit_key == record.limit_key and (other.created_at, other.id) < place for other in queued)


def _described(shown: Shown) -> dict[str, Any]:
    record, lineage = shown.record, shown.lineage
    return {
        **describe(record),
        "why": shown.why,
        "queued": record.queued,
        "limit": {"key": record.limit_key, "limit": record.limit} if record.limit_key else None,
        "worker": record.owner,
        "parent": record.parent,
        "origin": record.origin,
        "keys_of": lineage.root if lineage else record.id,
        "forks": [{"id": fork.id, "status": fork.status.value} for fork in shown.forks],
        "children": [
            {"id": child.id, "workflow": child.workflow_id, "status": child.status.value} for child in shown.children
        ],
        "timeline": [line_json(line) for line in shown.lines],
    }


def _print(shown: Shown, *, with_timeline: bool) -> None:
    record = shown.record
    typer.echo(f"{record.id} {shown.why}")
    typer.echo()
    for name, value in _facts(shown):
        typer.echo(f"{name:<11} {value}")
    if record.output is not None:
        typer.echo("output")
        print_json(record.output)
    if with_timeline and shown.lines:
        typer.echo()
        for line in draw(shown.lines, shown.seen.now, shutil.get_terminal_size((100, 24)).columns):
            typer.echo(line)


def _facts(shown: Shown) -> list[tuple[str, str]]:
    record = shown.record
    retries = f", {count(record.retries, 'retry').replace('retrys', 'retries')}" if record.retries else ""
    facts = [
        ("workflow", f"{record.workflow_id} (revision {record.revision}) on {record.engine.value}"),
        ("status", "queued" if record.queued else record.status.value),
        ("node", record.current_node),
        ("progress", f"{record.done} of {record.total} nodes{retries}"),
        ("created", moment(record.created_at)),
        ("started", moment(record.started_at) if record.started_at else ""),
        ("finished", moment(record.finished_at) if record.finished_at else ""),
        ("error", show_failure(record.failure) if record.failure else ""),
        ("worker", record.owner or ""),
        ("parent", record.parent or ""),
        ("forked from", _origin(shown.lineage)),
        ("forks", _related(shown.forks)),
        ("children", _related(shown.children)),
    ]
    return [(name, value) for name, value in facts if value]


def _origin(lineage: Lineage | None) -> str:
    if lineage is None:
        return ""
    keys = "" if lineage.root == lineage.origin else f", with the idempotency keys of {lineage.root}"
    return f"{lineage.origin}{keys}"


def _related(records: tuple[ExecutionRecord, ...]) -> str:
    named = ", ".join(f"{record.id} ({record.status})" for record in records[:_NAMED])
    return named + (f" and {len(records) - _NAMED} more" if len(records) > _NAMED else "")


@app.command(epilog=examples("orchestrator executions events 0b7c…"))
def events(execution_id: Id, database: Database = None, output: OutputOption = Output.TABLE) -> None:
    """Everything that happened to an execution, in order."""

    async def both(store: Store) -> tuple[ExecutionRecord | None, list[Recorded]]:
        return await store.get(execution_id), await store.events(execution_id)

    record, history = ask(database, both)
    there = found(record, execution_id)
    rows = [_event(recorded) for recorded in history]
    if output is Output.JSON:
        print_json(rows)
        return
    if there.engine is Engine.V1:
        typer.echo("V1 keeps no events; `orchestrator executions show` says where it stands", err=True)
    for recorded in history:
        typer.echo(f"{recorded.seq:>4} {recorded.event.at.isoformat()} {tell(recorded)}")


def tell(recorded: Recorded) -> str:
    """An event in a line: its kind, whom it is about, and why."""
    row = _event(recorded)
    node = f" {row['node']}" if row["node"] else ""
    item = f"/{row['data']['item']}" if row["data"].get("item") is not None else ""
    attempt = f" attempt {row['attempt']}" if row["attempt"] else ""
    return f"{row['type']}{node}{item}{attempt}{_detail(recorded)}"


def _event(recorded: Recorded) -> dict[str, Any]:
    event = recorded.event
    return {
        "seq": recorded.seq,
        "at": event.at.isoformat(),
        "type": type_name(event),
        "node": getattr(event, "node", None),
        "attempt": getattr(event, "attempt", None),
        "data": dump_data(event),
    }


def _detail(recorded: Recorded) -> str:
    """What a person wants to know of an event beside its kind: why, until when, and whom else it is about."""
    event = recorded.event
    failure: Failure | None = getattr(event, "failure", None)
    again: datetime | None = getattr(event, "retry_at", None)
    until: datetime | None = getattr(event, "until", None)
    parts = [
        "compensation" if getattr(event, "undo", False) else "",
        str(getattr(event, "reason", "")),
        f"signal {event.name}" if hasattr(event, "name") else "",
        f"child {event.child}" if hasattr(event, "child") else "",
        f"{len(event.keys)} items" if hasattr(event, "keys") else "",
        f"{failure.kind}: {failure.message}" if failure else "",
        f"next attempt at {again.isoformat()}" if again else "",
        f"until {until.isoformat()}" if until else "",
    ]
    said = "; ".join(part for part in parts if part)
    return f" ({said})" if said else ""
