"""`orchestrator rollout report`: the whole story of a rollout as one page, and its chart in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from orchestrator.cli.options import examples
from orchestrator.errors import InvalidInput, OrchestratorError, Problem
from orchestrator_operator.cli.rollout_asking import Context, Namespace
from orchestrator_operator.cli.rollout_verify import Database
from orchestrator_operator.settings import variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.report.model import Report

_DATABASE = variable("database")

EPILOG = examples(
    "orchestrator rollout report v2 --database postgresql://… -o report.html",
    "orchestrator rollout report --file decisions.jsonl -o report.html",
    "orchestrator rollout report --simulation simulated.json -o report.html",
)


def report(
    name: Annotated[str | None, typer.Argument(help="The EngineRollout's name; none with a file.")] = None,
    out: Annotated[Path, typer.Option("--output", "-o", help="The page to write; - for standard output.")] = Path(
        "report.html"
    ),
    *,
    namespace: Namespace = "",
    context: Context = None,
    file: Annotated[
        Path | None, typer.Option(help="Rows that `rollout history --output jsonl` exported, in place of a database.")
    ] = None,
    simulation: Annotated[
        Path | None, typer.Option(help="What `rollout simulate --output json` printed, in place of a rollout.")
    ] = None,
    uid: Annotated[str | None, typer.Option(help="Of a resource that is gone: only the store is asked.")] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="An earlier attempt; the newest by default.")] = None,
    database: Database = None,
) -> None:
    """Draw a rollout's story as one page: percent, evidence, counts, and every decision with its reason.

    The page needs nothing but itself: it loads nothing and runs no script, so it can be mailed and archived.

    How executions do is another question: `orchestrator report`.
    """
    # Imported here: what draws takes numbers and statistics along, which `--help` should not pay.
    from orchestrator_operator.report import page  # noqa: PLC0415 - see above

    story = _story(name, namespace, context, uid, file, simulation, attempt, database)
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
        meta = body["metadata"]
        story = _stored(meta["name"], meta["namespace"], None, meta["uid"], None, database)
    except OrchestratorError as error:
        typer.echo(f"no chart: {error}", err=True)
        return
    for line in terminal.chart(story, console.width, unicode=not console.options.ascii_only):
        console.print(line, no_wrap=True, overflow="crop", soft_wrap=False)


def _story(
    name: str | None,
    namespace: str,
    context: str | None,
    uid: str | None,
    file: Path | None,
    simulation: Path | None,
    attempt: int | None,
    database: str | None,
) -> Report:
    from orchestrator_operator.report import rows, simulated  # noqa: PLC0415 - as above
    from orchestrator_operator.rollout.log import export  # noqa: PLC0415 - as above

    if sum(source is not None for source in (name, file, simulation)) != 1:
        raise InvalidInput([Problem("", "name one of: an EngineRollout, --file, or --simulation")])
    if file is not None:
        return rows.report(export.read(_read(file).splitlines(), str(file))[0], str(file), attempt)
    if simulation is not None:
        try:
            document = json.loads(_read(simulation))
        except (ValueError, RecursionError) as error:
            raise InvalidInput([Problem(str(simulation), f"not JSON: {error}")]) from None
        return simulated.report(document, str(simulation))
    return _stored(str(name), namespace, context, uid, attempt, database)


def _stored(
    name: str, namespace: str, context: str | None, uid: str | None, attempt: int | None, database: str | None
) -> Report:
    """What the store's log of decisions says of a resource."""
    from orchestrator_operator.cli import rollout_log  # noqa: PLC0415 - as above
    from orchestrator_operator.report import rows  # noqa: PLC0415 - as above

    found, _ = asyncio.run(rollout_log.from_store(name, namespace, context, uid, database))
    return rows.report(found, f"the log of decisions of {namespace}/{name}", attempt)


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
