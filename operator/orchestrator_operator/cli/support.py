"""`orchestrator support-bundle`: one file for an issue report."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from orchestrator import settings as engine_settings
from orchestrator.cli.options import Database, duration, examples
from orchestrator.errors import InvalidInput
from orchestrator.flag import KEYS
from orchestrator_operator import settings as operator_settings
from orchestrator_operator.cli.rollout_asking import Namespace
from orchestrator_operator.jobs import settings as job_settings

app = typer.Typer(rich_markup_mode=None)

_WITHIN = timedelta(minutes=1)  # of a section; each question in it gives up sooner


@app.command(
    epilog=examples(
        "orchestrator support-bundle",
        "orchestrator support-bundle --namespace shop --since 6h --log worker.log -o bundle.tar.gz",
        "kubectl logs deployment/orchestrator-operator | orchestrator support-bundle --log -",
    )
)
def bundle(
    out: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The file (default: orchestrator-support-MOMENT.tar.gz).", show_default=False
        ),
    ] = None,
    *,
    database: Database = None,
    namespace: Namespace = "",
    since: Annotated[str, typer.Option(help="How far back events, log lines and failures are looked for.")] = "1d",
    log: Annotated[
        list[str] | None, typer.Option(help="A log file to add, its last 2 MB; - is standard input. Repeatable.")
    ] = None,
    with_messages: Annotated[
        bool, typer.Option("--with-messages", help="Add failures' messages, searched for secrets; they quote anything.")
    ] = False,
    cluster: Annotated[bool, typer.Option(help="Ask the cluster that KUBECONFIG names.")] = True,
) -> None:
    """Pack versions, settings, the store's and the rollout's state and recent events into one file, without secrets.

    Inputs, outputs, payloads and workflows' definitions are left out, as the file's README.txt says. What does not
    answer is noted inside, and the rest is packed all the same. It reads only, and sends nothing anywhere.

    Exit codes: 0 the file is written, 2 bad input.
    """
    from orchestrator import support  # noqa: PLC0415 - takes database and cluster clients along, which --help need not
    from orchestrator_operator.support import cluster_section  # noqa: PLC0415 - the same

    window = duration(since, "--since")
    now, environment = datetime.now(UTC), dict(os.environ)
    described = (*engine_settings.described(), *job_settings.described(), *operator_settings.described())
    settings = _settings(database)
    harmless = {*(one.variable for one in described), *KEYS}
    masks = support.known_secrets(environment, harmless, database, settings.database)
    made = support.Bundle(support.Scrubber(masks), now, metadata.version("orchestrator"), with_messages=with_messages)
    sections = [
        support.versions_section(),
        support.settings_section(environment, described, (engine_settings.Settings.read, operator_settings.read)),
        support.store_section(settings, window),
        *([cluster_section(namespace, environment)] if cluster else []),
        support.log_section(log or ()),
    ]
    path = out or Path(f"orchestrator-support-{now:%Y%m%d-%H%M%S}.tar.gz")
    asyncio.run(support.collect(made, sections, _WITHIN, lambda said: typer.echo(said, err=True)))
    support.write(made, path)
    missing = [part for part in made.parts if part.state == "incomplete"]
    typer.echo(f"{len(made.files)} files{', ' if missing else ''}", err=True, nl=False)
    typer.echo(", ".join(f"{part.name} is {part.state}" for part in missing), err=True)
    typer.echo("Secrets were blotted out as far as they are known: look through it before you attach it.", err=True)
    typer.echo(str(path))


def _settings(database: str | None) -> engine_settings.Settings:
    """Where the store is. Settings that are wrong are told inside of the bundle: they may be what it is made for."""
    try:
        found = engine_settings.Settings.read()
    except InvalidInput:
        environment = {name: os.environ.get(name, "") for name in ("ORCHESTRATOR_DATABASE", "ORCHESTRATOR_SCHEMA")}
        found = engine_settings.Settings.read(environment)
    return replace(found, database=database or found.database)
