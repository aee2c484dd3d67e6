"""The log of a rollout's decisions for `rollout verify` and `rollout history`: read, and told."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from orchestrator.errors import InvalidInput, OrchestratorError, Problem
from orchestrator.store import open_store
from orchestrator_operator import settings as settings_
from orchestrator_operator.adapters.kubernetes import Kubernetes, NotFound, Refused
from orchestrator_operator.rollout.judging.judge import JUDGE
from orchestrator_operator.rollout.log import export
from orchestrator_operator.rollout.log.chain import HEAD_HASH, HEAD_NUMBER
from orchestrator_operator.rollout.log.recorder import read_all
from orchestrator_operator.rollout.log.verify import Published
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout_status import DecisionHead, RolloutStatus, read_status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.store.evidence import DecisionRow
    from orchestrator_operator.rollout.log.verify import Otherwise, Verified


def print_log(uid: str, database: str | None) -> None:
    """The whole log of a rollout as lines of JSON."""

    async def read() -> list[DecisionRow]:
        return await _read(uid, database)

    for line in export.lines(asyncio.run(read())):
        typer.echo(line)


def from_file(file: Path, name: str) -> tuple[list[DecisionRow], list[Published]]:
    """The rows of an export, and the end that its last line names. Raises InvalidInput."""
    try:
        with file.open(encoding="utf-8") as text:
            rows, head = export.read(text, str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Problem("--file", f"cannot read {file}: {error}")]) from None
    if head is None:
        what = (
            f"{file} has no last line that says where the log ends: it was cut off, or something was added; export anew"
        )
        raise InvalidInput([Problem("--file", what)])
    if rows and rows[0].name.rpartition("/")[2] != name:
        raise InvalidInput([Problem("--file", f"{file} is the log of {rows[0].name}, not of {name}")])
    return rows, [Published(f"the last line of {file}", head)]


async def from_store(
    name: str, namespace: str, context: str | None, uid: str | None, database: str | None
) -> tuple[list[DecisionRow], list[Published]]:
    """The rows, and every place that names the end of the log. The places are read first: the log only grows."""
    if uid is not None:
        return await _read(uid, database), []
    kubernetes = await Kubernetes.connect(agent="orchestrator-rollout", context=context)
    try:
        body = await kubernetes.get(ROLLOUTS, namespace, name)
        uid = str(body["metadata"]["uid"])
        try:
            events = await kubernetes.events_about(namespace, uid)
        except Refused:  # who may read rollouts need not be allowed to list Events
            events = ()
    except NotFound as error:
        raise OrchestratorError(
            f"{error}; its log outlives it: --uid, or --file with an export that was made before"
        ) from error
    finally:
        await kubernetes.aclose()
    status = read_status(body.get("status"))
    return await _read(uid, database), list(_published(status, events))


def _published(status: RolloutStatus, events: Sequence[dict[str, Any]]) -> list[Published]:
    found = [] if status.decision_head is None else [Published("the status", status.decision_head)]
    for event in events:
        meta = event["metadata"]
        said = meta.get("annotations") or {}
        number = str(said.get(HEAD_NUMBER, ""))
        if number.isdigit():
            head = DecisionHead(number=int(number), hash=str(said.get(HEAD_HASH, "")))
            found.append(Published(f"the Event {meta['name']}", head))
    return found


async def _read(uid: str, database: str | None) -> list[DecisionRow]:
    settings = settings_.read(database=database)
    patience = timedelta(seconds=settings.patience)
    store = await open_store(settings.database, schema=settings.schema_, patience=patience)
    try:
        return await read_all(store, uid)
    finally:
        await store.close()


def as_json(name: str, found: Verified, published: list[Published]) -> dict[str, Any]:
    """What was found, for programs."""
    return {
        "rollout": name,
        "rows": found.rows,
        "derivedAgain": found.derived,
        "withoutInputs": list(found.without_inputs),
        "byAnotherJudge": [asdict(one) for one in found.otherwise],
        "comparedWith": [one.place for one in published],
        "difference": found.difference or None,
    }


def as_text(name: str, found: Verified, published: list[Published]) -> list[str]:
    """What was found, in lines."""
    if found.difference:
        return [f"{name}: {found.difference}"]
    lines = [
        f"{name}: {found.rows} rows, each as it was written",
        f"{found.derived} of them derived again from their inputs, to the same verdicts and actions",
    ]
    if found.without_inputs:
        rows = ", ".join(map(str, found.without_inputs))
        lines.append(f"written down after a crash, without inputs to derive from: {rows}")
    if found.otherwise:
        first, count = found.otherwise[0], len(found.otherwise)
        lines.append(
            f"{count} of them were decided by another judge, whose figures this one (judge {JUDGE}) does not come to; "
            f"row {first.number} is the first, by judge {first.judge}: {first.difference}"
        )
        lines.append(f"derive them with the software that wrote them: {_versions(found.otherwise)}")
    ends = ", ".join(one.place for one in published)
    lines.append(f"the end is as published in {ends}" if ends else "nothing outside of the store tells where it ends")
    return lines


def _versions(otherwise: Sequence[Otherwise]) -> str:
    return ", ".join(sorted({f"version {one.version} (judge {one.judge})" for one in otherwise}))
