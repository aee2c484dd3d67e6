"""One request to many executions: chosen, shown or asked about, made in portions, summed up.

Every request is recorded once, so the same command again goes on behind an interruption.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import typer

from orchestrator import events as e
from orchestrator import steering
from orchestrator.cli.executions.common import ask, unknown
from orchestrator.cli.executions.progress import Progress
from orchestrator.cli.executions.selecting import Selection, check_one_way, pages
from orchestrator.cli.options import Output, print_json
from orchestrator.errors import InvalidInput, OrchestratorError, Problem, StoreError
from orchestrator.model import Engine, Status
from orchestrator.store import Control, ExecutionRecord, Store
from orchestrator.store.messages import Delivered, Delivery

_TOGETHER: Final = 200  # executions in one portion: an interruption waits for its end
_AT_ONCE: Final = 20  # of those, histories that are read at the same time
_SHOWN: Final = 20  # lines for people; JSON has them all
_INTERRUPTED: Final = 130
_GOOD: Final = ("recorded", "unchanged")


@dataclass(frozen=True, slots=True)
class Told:
    """What became of the request to one execution."""

    id: str
    result: str  # recorded | unchanged | unknown | refused | would
    detail: str = ""
    more: dict[str, Any] = field(default_factory=dict)  # for JSON
    notes: tuple[str, ...] = ()


Act: TypeAlias = Callable[[Store, Sequence[ExecutionRecord], datetime], Awaitable[list[Told]]]


@dataclass(frozen=True, slots=True)
class Verb:
    """A request, and whom it is for when nobody says otherwise."""

    name: str
    statuses: tuple[Status, ...]  # of executions that are chosen by options without --status
    act: Act
    only_one: bool = False


@dataclass(slots=True)
class _Done:
    told: list[Told]
    selected: int
    interrupted: bool = False


def perform(
    verb: Verb,
    ids: list[str] | None,
    selection: Selection,
    database: str | None,
    output: Output,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    """The whole command. Exit codes: 0 all is as asked, 1 some are unknown or were refused, 2 bad input."""
    check_one_way(ids, selection)
    if verb.only_one and (ids is None or len(ids) != 1):
        raise InvalidInput([Problem("--id", "names one new execution: name the one that it is for")])
    if selection.statuses is None:
        selection = replace(selection, statuses=verb.statuses)
    now = datetime.now(UTC)
    selection.where(now)
    may_ask = not yes and not ids and sys.stdin.isatty()

    async def asked(store: Store) -> _Done:
        missing: list[str] = []
        if ids:
            named = {i: await store.get(i) for i in dict.fromkeys(ids)}
            missing = [i for i, record in named.items() if record is None]
            chosen = [record for record in named.values() if record is not None]
        else:
            chosen = [record async for page in pages(store, selection, now) for record in page]
        told = [Told(i, "unknown", str(unknown(i))) for i in missing]
        if dry_run:
            standing = [Told(r.id, "would", f"{r.workflow_id} is {r.status}") for r in chosen]
            return _Done(told + standing, len(chosen) + len(missing))
        if may_ask and chosen and not typer.confirm(f"{verb.name} {len(chosen)} executions?", err=True):
            raise typer.Exit(1)
        done = await _in_portions(verb, store, chosen)
        return replace(done, told=told + done.told, selected=len(chosen) + len(missing))

    _answer(verb, ask(database, asked), output, named=bool(ids), dry_run=dry_run)


async def _in_portions(verb: Verb, store: Store, chosen: Sequence[ExecutionRecord]) -> _Done:
    """Portion by portion; Ctrl-C lets the one in hand end, so that it is known what was done."""
    done, progress = _Done([], len(chosen)), Progress(verb.name, len(chosen))
    for start in range(0, len(chosen), _TOGETHER):
        portion = asyncio.ensure_future(verb.act(store, chosen[start : start + _TOGETHER], datetime.now(UTC)))
        try:
            done.told += await asyncio.shield(portion)
        except asyncio.CancelledError:
            done.told += await portion
            done.interrupted = True
            break
        progress.at(len(done.told))
    progress.over()
    return done


def controls(control: Control) -> Act:
    """The request to cancel, suspend or resume."""
    kinds: dict[Control, type[e.CancelRequested | e.SuspendRequested | e.ResumeRequested]] = {
        Control.CANCEL: e.CancelRequested,
        Control.SUSPEND: e.SuspendRequested,
        Control.RESUME: e.ResumeRequested,
    }

    async def act(store: Store, portion: Sequence[ExecutionRecord], now: datetime) -> list[Told]:
        durable = [record for record in portion if record.engine is Engine.V2]
        delivered = await store.deliver([Delivery(record.id, kinds[control](now)) for record in durable])
        recorded = {r.id: was is Delivered.RECORDED for r, was in zip(durable, delivered, strict=True)}
        for record in portion:
            if record.engine is Engine.V1:
                recorded[record.id] = await store.control(record.id, control, now)
        told = []
        for record in portion:
            if recorded[record.id]:
                told.append(Told(record.id, "recorded"))
            else:
                there = await store.get(record.id)
                told.append(Told(record.id, "unchanged", _why_not(there or record, control)))
        return told

    return act


def _why_not(record: ExecutionRecord, control: Control) -> str:
    if record.finished_at is not None:
        return f"nothing to do, it is over: {record.status}"
    if record.engine is Engine.V1 and control is Control.SUSPEND:
        return "V1 cannot be suspended; cancel it, or wait for its end"
    if record.engine is Engine.V1 and record.cancel_requested:
        return "asked before: V1 sees it at its next node; if its process died, ask again when its step's time is over"
    return f"nothing to do, it is {record.status} and this was asked before or is the case"


def retries(new_id: str | None) -> Act:
    """The request to repeat."""

    async def act(store: Store, portion: Sequence[ExecutionRecord], now: datetime) -> list[Told]:
        free = asyncio.Semaphore(_AT_ONCE)

        async def one(record: ExecutionRecord) -> Told:
            async with free:
                try:
                    return await _retry(store, record, now, new_id)
                except StoreError:
                    raise
                except OrchestratorError as error:
                    return Told(record.id, "refused", str(error))

        return list(await asyncio.gather(*(one(record) for record in portion)))

    return act


async def _retry(store: Store, record: ExecutionRecord, now: datetime, new_id: str | None) -> Told:
    known = await steering.look_up(store, record.id)
    fork, created = await steering.retry(store, known, now, fork_id=new_id)
    more = {"new": fork.id, "carried": len(fork.carried), "notes": list(fork.notes)}
    if created:
        return Told(record.id, "recorded", f"recorded as {fork.id}", more, fork.notes)
    there = await store.get(fork.id)
    status = there.status if there else "gone"
    return Told(record.id, "unchanged", f"repeated before as {fork.id}, which is {status}", more)


def _answer(verb: Verb, done: _Done, output: Output, *, named: bool, dry_run: bool) -> None:
    counts = Counter(told.result for told in done.told)
    if output is Output.JSON:
        rows = [{"id": t.id, "result": t.result, "detail": t.detail or None, **t.more} for t in done.told]
        summary = {"command": verb.name, "selected": done.selected, **counts, "interrupted": done.interrupted}
        print_json({**summary, "executions": rows})
    else:
        _print(verb, done, counts, named=named, dry_run=dry_run)
    if done.interrupted:
        left = done.selected - len(done.told)
        typer.echo(f"interrupted with {left} left: the same command goes on", err=True)
        sys.exit(_INTERRUPTED)
    if counts["unknown"] or counts["refused"]:
        sys.exit(1)


def _print(verb: Verb, done: _Done, counts: Counter[str], *, named: bool, dry_run: bool) -> None:
    bad = [told for told in done.told if told.result not in (*_GOOD, "would")]
    lines = [told for told in done.told if told not in bad]
    for told in lines if named else lines[:_SHOWN]:
        said = f"would {verb.name} ({told.detail})" if dry_run else f"{verb.name}: {told.detail or told.result}"
        typer.echo(f"{told.id} {said}")
        for note in told.notes:
            typer.echo(f"  {note}")
    if not named and len(lines) > _SHOWN:
        typer.echo(f"… and {len(lines) - _SHOWN} more")
    for told in bad[:_SHOWN]:
        typer.echo(f"error: {told.detail}", err=True)
    if not named:
        summed = ", ".join(f"{number} {result}" for result, number in sorted(counts.items())) or "none fits"
        typer.echo(f"{verb.name}: {summed}" if not dry_run else f"{verb.name}: {done.selected} chosen, nothing done")
