"""`orchestrator local`: a control plane on this machine, for the demo, for tests, and to try things out."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator import durations
from orchestrator.cli.options import Output, OutputOption, print_json
from orchestrator.errors import OrchestratorError
from orchestrator_operator.local import (
    DEFAULT_INTERVAL,
    ConsoleReporter,
    LocalCluster,
    Source,
    Target,
    Toolbox,
    state_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from orchestrator_operator.local import Found, Status

_INTERVAL = durations.show(DEFAULT_INTERVAL)
FAILED, DOWN, INTERRUPTED = 1, 3, 130  # exit codes; DOWN as in the convention of init scripts


def _valid_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name):
        raise typer.BadParameter("use lower-case letters, digits and hyphens, at most 40, such as `default`")
    return name


def _targets(values: list[str] | None) -> list[Target] | None:
    try:
        return [Target.parse(value) for value in values] if values else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _interval(value: str) -> timedelta:
    try:
        interval = durations.parse(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not interval:
        raise typer.BadParameter("0 is no interval: write 1s, 5s, 1m, …")
    return interval


Name = Annotated[str, typer.Option(help="Which control plane: several may run at once.", callback=_valid_name)]

app = typer.Typer(
    name="local",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""A Kubernetes control plane and Prometheus on this machine, without Docker.

etcd, kube-apiserver, kube-controller-manager and Prometheus as plain processes that listen on 127.0.0.1 only.
There are no nodes: Pods and Jobs can be created, and nothing runs them.

The binaries are taken, in this order, from the folders named by KUBEBUILDER_ASSETS and
ORCHESTRATOR_PROMETHEUS_ASSETS, from the cache, from PATH (if they have the right version), from the official
releases, and are else built from source, which takes about fifteen minutes and 5 GB of disk once.

Everything is kept below ~/.cache/orchestrator (or $ORCHESTRATOR_CACHE).

\b
Example:
  orchestrator local up
  export KUBECONFIG=$(orchestrator local status -o json | jq -r .kubeconfig)
""",
)


def _examples(*lines: str) -> str:
    """An epilog that keeps its lines."""
    return "\b\n" + "\n".join(["Examples:", *(f"  orchestrator local {line}" for line in lines)])


@app.command(
    epilog=_examples(
        "up",
        "up --scrape operator=127.0.0.1:9100 --scrape worker=127.0.0.1:9101 --interval 1s",
        "up --name other --output json",
    )
)
def up(
    *,
    name: Name = "default",
    scrape: Annotated[
        list[str] | None,
        typer.Option(help="What Prometheus scrapes, as JOB=HOST:PORT; may be given again. Replaces the earlier ones."),
    ] = None,
    interval: Annotated[str, typer.Option(help="Between two scrapes, with --scrape.")] = durations.show(
        DEFAULT_INTERVAL
    ),
    timeout: Annotated[float, typer.Option(help="Seconds until all must be ready.", min=1)] = 120.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start the control plane in the background, or complete it, and print how to use it. Exit code 0: it is up."""
    targets, every, began = _targets(scrape), _interval(interval), time.monotonic()
    with _errors_told():
        report = ConsoleReporter()
        binaries = Toolbox(report=report).get()
        cluster = LocalCluster(state_folder(name), report=report)
        started = cluster.up(binaries, detached=True, targets=targets, interval=every, timeout=timeout)
        facts = _facts(name, cluster) | {"started": started}
        if output is Output.JSON:
            print_json(facts)
            return
        took = f"is up after {time.monotonic() - began:.1f} s" if started else "was up already"
        _say(
            f"The local control plane {name!r} {took}.",
            f"  API server   {facts['api']}",
            f"  Prometheus   {facts['prometheus']}",
            f"  kubectl      {facts['kubectl']}",
            f"  state        {facts['folder']}",
            "",
            f"export KUBECONFIG={facts['kubeconfig']}",
        )


@app.command(epilog=_examples("down", "down --purge"))
def down(
    *,
    name: Name = "default",
    purge: Annotated[
        bool, typer.Option("--purge", help="Also remove its objects, metrics, certificates, logs.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Stop the control plane; its data stay for the next `up`. Exit code 0 also when it was not up."""
    with _errors_told():
        cluster = LocalCluster(state_folder(name), report=ConsoleReporter())
        stopped = cluster.purge() if purge else cluster.down()
        if output is Output.JSON:
            print_json({"name": name, "stopped": stopped, "purged": purge})
            return
        what = f"has been stopped{' and removed' if purge else ''}" if stopped else "was not up"
        _say(f"The local control plane {name!r} {what}.")


@app.command(epilog=_examples("status", "status --output json"))
def status(*, name: Name = "default", output: OutputOption = Output.TABLE) -> None:
    """Show what runs. Exit code 0: all of it is up and ready; 3: it is not."""
    with _errors_told():
        cluster = LocalCluster(state_folder(name))
        now = cluster.status()
        if output is Output.JSON:
            parts = [asdict(part) for part in now.parts]
            print_json((_facts(name, cluster) if now.parts else {"name": name}) | {"up": now.up, "parts": parts})
        elif now.parts:
            _print(_table(now))
            _say("", f"export KUBECONFIG={cluster.kubeconfig}")
        else:
            _say(f"There is no local control plane {name!r}: start it with `orchestrator local up`.")
    if not now.up:
        raise typer.Exit(DOWN)


@app.command(epilog=_examples("tools", "tools --from cache --from build"))
def tools(
    *,
    source: Annotated[
        list[Source] | None, typer.Option("--from", help="Only from these sources; may be given again.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Get the binaries (find, download or build them), and print where they are and where they came from."""
    with _errors_told():
        found = Toolbox(report=ConsoleReporter(), allowed=tuple(source or Source)).get()
        rows = [_binary(binary) for binary in found.values()]
        if output is Output.JSON:
            print_json(rows)
            return
        table = Table("TOOL", "VERSION", "FROM", "PATH", box=None)
        for row in rows:
            table.add_row(row["tool"], row["version"], row["from"], escape(row["path"]))
        _print(table)


def _binary(found: Found) -> dict[str, str]:
    return {"tool": found.tool.name, "version": found.version, "from": found.source, "path": str(found.path)}


def _facts(name: str, cluster: LocalCluster) -> dict[str, Any]:
    return {
        "name": name,
        "kubeconfig": str(cluster.kubeconfig),
        "api": cluster.api_url,
        "prometheus": cluster.prometheus_url,
        "kubectl": str(cluster.kubectl),
        "folder": str(cluster.folder),
    }


def _table(now: Status) -> Table:
    table = Table("PART", "STATE", "PID", "MEMORY", "VERSION", "ADDRESS", box=None)
    for part in now.parts:
        state = "ready" if part.ready else "down" if part.pid is None else "not ready"
        memory = f"{part.memory / 1e6:.0f} MB" if part.memory else "-"
        table.add_row(part.name, state, str(part.pid or "-"), memory, part.version, part.address)
    return table


def _print(table: Table) -> None:
    """Print a table in full: an address or a path that is cut is of no use."""
    Console(width=max(Console().width, 200)).print(table)


def _say(*lines: str) -> None:
    for line in lines:
        typer.echo(line)


@contextmanager
def _errors_told() -> Iterator[None]:
    """Turn what we raise on purpose into a message and an exit code; a bug keeps its traceback."""
    try:
        yield
    except OrchestratorError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt:
        typer.echo(
            "interrupted: nothing of this was left running, and what was built is kept for the next time", err=True
        )
        raise typer.Exit(INTERRUPTED) from None


if __name__ == "__main__":
    app()
