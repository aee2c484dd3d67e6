"""`orchestrator rollout report`: the whole story of a rollout as one page, and its chart in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from orchestrator.cli.options import DATABASE_FORMS, examples
from orchestrator.errors import InvalidInput, OrchestratorError, Problem
from orchestrator_operator.settings import read, variable
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout_status import read_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.report.model import Report

_PAGE = 500  # rows asked for at once
_DATABASE, _SCHEMA = variable("database"), variable("schema")

EPILOG = examples(
    "orchestrator rollout report v2 --database postgresql://… -o report.html",
    "orchestrator rollout report --file decisions.jsonl -o report.html",
    "orchestrator rollout report --simulation simulated.json -o report.html",
)
Database = Annotated[
    str | None, typer.Option("--database", "-d", help=f"The operator's. {DATABASE_FORMS}", show_default=False)
]


def report(
    name: Annotated[str | None, typer.Argument(help="The EngineRollout's name; none with a file.")] = None,
    out: Annotated[Path, typer.Option("--output", "-o", help="The page to write; - for standard output.")] = Path(
        "report.html"
    ),
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", envvar=variable("namespace"), help="The rollout's namespace.")
    ] = "default",
    file: Annotated[
        Path | None, typer.Option(help="Rows that `rollout history --output jsonl` exported, in place of a database.")
    ] = None,
    simulation: Annotated[
        Path | None, typer.Option(help="What `rollout simulate --output json` printed, in place of a rollout.")
    ] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="An earlier attempt; the newest by default.")] = None,
    database: Database = None,
) -> None:
    """Draw a rollout's story as one page: percent, evidence, counts, and every decision with its reason.

    The page needs nothing but itself: it loads nothing and runs no script, so it can be mailed and archived.
    """
    # Imported here: what draws takes numbers and statistics along, which `--help` should not pay.
    from orchestrator_operator.report import page  # noqa: PLC0415 - see above

    story = _story(name, namespace, file, simulation, attempt, database)
    text = page.render(story, datetime.now(UTC))
    if str(out) == "-":
        typer.echo(text, nl=False)
        return
    _write(out, text)
    looks, told = len(story.moments), len(story.decisions)
    typer.echo(
        f"{out}: {story.name}, {story.status.phase}; {told} decisions, {looks} looks, {len(text) // 1024 + 1} KB"
    )


def print_chart(body: Mapping[str, Any], database: str | None) -> None:
    """The chart of a resource's rollout below its status, where the database is known; never an error.

    Without colours where nobody looks, and in ASCII where the terminal has no more.
    """
    if not (database or os.environ.get(_DATABASE)):
        return
    from orchestrator_operator.report import terminal  # noqa: PLC0415 - as above

    console = Console()
    try:
        story = _stored(body, None, database)
    except OrchestratorError as error:
        typer.echo(f"no chart: {error}", err=True)
        return
    for line in terminal.chart(story, console.width, unicode=not console.options.ascii_only):
        console.print(line, no_wrap=True, overflow="crop", soft_wrap=False)


def _story(
    name: str | None,
    namespace: str,
    file: Path | None,
    simulation: Path | None,
    attempt: int | None,
    database: str | None,
) -> Report:
    from orchestrator_operator.report import rows, simulated  # noqa: PLC0415 - as above

    if sum(source is not None for source in (name, file, simulation)) != 1:
        raise InvalidInput([Problem("", "name one of: an EngineRollout, --file, or --simulation")])
    if file is not None:
        return rows.report(rows.parse_lines(_read(file), str(file)), str(file), attempt=attempt)
    if simulation is not None:
        try:
            document = json.loads(_read(simulation))
        except (ValueError, RecursionError) as error:
            raise InvalidInput([Problem(str(simulation), f"not JSON: {error}")]) from None
        return simulated.report(document, str(simulation))
    return _stored(_resource(str(name), namespace), attempt, database)


def _stored(body: Mapping[str, Any], attempt: int | None, database: str | None) -> Report:
    """What the store's decision log says of a resource."""
    from orchestrator_operator.report import rows  # noqa: PLC0415 - as above

    meta = body["metadata"]
    name = f"{meta['namespace']}/{meta['name']}"
    if not (database or os.environ.get(_DATABASE)):
        message = f"the decisions stand in the operator's database: name it here or by {_DATABASE}, or use --file"
        raise InvalidInput([Problem("--database", message)])
    found = asyncio.run(_rows(str(meta["uid"]), database))
    return rows.report(found, f"the decision log of {name}", attempt=attempt, status=read_status(body.get("status")))


async def _rows(uid: str, database: str | None) -> list[dict[str, Any]]:
    from orchestrator.store import open_store  # noqa: PLC0415 - as above

    settings = read(database=database)
    store = await open_store(settings.database, schema=settings.schema_, pool_size=1)
    found: list[dict[str, Any]] = []
    try:
        while page := await store.decisions(uid, after=found[-1]["number"] if found else 0, limit=_PAGE):
            found += [asdict(row) | {"at": row.at.isoformat(), "content": json.loads(row.content)} for row in page]
    finally:
        await store.close()
    return found


def _resource(name: str, namespace: str) -> Mapping[str, Any]:
    from orchestrator_operator.adapters.kubernetes import Kubernetes  # noqa: PLC0415 - as above

    async def asked() -> Mapping[str, Any]:
        kubernetes = await Kubernetes.connect(agent="orchestrator-rollout")
        try:
            return await kubernetes.get(ROLLOUTS, namespace, name)
        finally:
            await kubernetes.aclose()

    return asyncio.run(asked())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput([Problem(str(path), f"cannot be read: {why}")]) from None


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a page that somebody has open is replaced at once."""
    scratch = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as file:
            scratch = Path(file.name)
            file.write(text)
        scratch.chmod(0o644)
        scratch.replace(path)
    except OSError as error:
        if scratch is not None:
            with contextlib.suppress(OSError):
                scratch.unlink()
        raise InvalidInput([Problem("--output", f"{path} cannot be written: {error.strerror}")]) from None
