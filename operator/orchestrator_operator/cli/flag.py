"""`orchestrator flag`: the flag USE_ORCHESTRATOR_V2 in a cluster, read and written by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator import durations
from orchestrator.cli.options import Output, OutputOption, print_json
from orchestrator.errors import InvalidInput, OrchestratorError, Problem
from orchestrator.flag import (
    CLEAR,
    KEYS,
    FlagSnapshot,
    FlagValues,
    parse,
    parse_instant,
    parse_percent,
    show_percent,
)
from orchestrator.router import Owner, effective_percent
from orchestrator_operator.cli.connecting import Context, Namespace, ask
from orchestrator_operator.rollout import ownership
from orchestrator_operator.rollout.known import Known, owner_of
from orchestrator_operator.settings import variable
from orchestrator_operator.specs import ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from orchestrator_operator.adapters.flag import SecretFlagStore
    from orchestrator_operator.adapters.kubernetes import Kubernetes

OWNED = 3  # exit code: an EngineRollout owns the flag

app = typer.Typer(
    help="Read and write the flag USE_ORCHESTRATOR_V2 in a cluster (KUBECONFIG says which).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Secret = Annotated[
    str, typer.Option("--secret", envvar=variable("flag_secret"), help="The Secret that holds the flag.")
]
_SECRET = "orchestrator-flags"  # noqa: S105 - a Secret's name, not its content


@dataclass(frozen=True, slots=True)
class Ownership:
    """The EngineRollout that owns the flag, and what its phase means to the router."""

    name: str
    phase: str
    owner: Owner


@app.command("get")
def get(
    namespace: Namespace = "", context: Context = None, secret: Secret = _SECRET, output: OutputOption = Output.TABLE
) -> None:
    """Show the flag, what it means now, and who owns it.

    Example: orchestrator flag get --namespace shop --output json
    """

    async def act(kubernetes: Kubernetes, flags: SecretFlagStore) -> dict[str, Any]:
        return describe(flags, await flags.read(), await owner(kubernetes, namespace, secret), datetime.now(UTC))

    _show(_with_flag(namespace, context, secret, act), output)


@app.command("set")
def set_(
    percent: Annotated[str | None, typer.Option(help="The share of V2, 0 to 100; without it everything.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="Back to V1 then: RFC 3339 in UTC, or a duration such as 2h from now.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write although an EngineRollout owns the flag.")] = False,
    namespace: Namespace = "",
    context: Context = None,
    secret: Secret = _SECRET,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send new executions, or a share of them, to V2. Exit code 3 while an EngineRollout owns the flag.

    Example: orchestrator flag set --percent 12.5 --expires 2h
    """
    values = wanted(percent, expires, datetime.now(UTC))

    async def act(kubernetes: Kubernetes, flags: SecretFlagStore) -> dict[str, Any]:
        owned = await owner(kubernetes, namespace, secret)
        if owned is not None and owned.owner is not Owner.COMPLETED and not force:
            typer.echo(
                f"error: the EngineRollout {owned.name} ({owned.phase}) owns this flag, and would set it back or "
                "call it a conflict. `orchestrator flag unset` rolls back by hand; --force writes all the same.",
                err=True,
            )
            raise typer.Exit(OWNED)
        before = await flags.read()
        written = await flags.write(values.as_mapping(), before.version)
        return describe(flags, written, owned, datetime.now(UTC))

    _show(_with_flag(namespace, context, secret, act), output)


@app.command("unset")
def unset(
    namespace: Namespace = "", context: Context = None, secret: Secret = _SECRET, output: OutputOption = Output.TABLE
) -> None:
    """Roll back by hand: remove all three keys, and read them back. It wins over a rollout, which stops for good.

    Example: orchestrator flag unset
    """

    async def act(kubernetes: Kubernetes, flags: SecretFlagStore) -> dict[str, Any]:
        before = await flags.read()
        if before.exists and not before.values.clear:
            await flags.write(CLEAR.as_mapping(), "")  # no precondition: a rollback wins over whoever writes meanwhile
        after = await flags.read()
        if not after.values.clear:
            raise OrchestratorError(
                f"somebody set the flag again at once: {', '.join(sorted(after.managers.values()))}"
            )
        return describe(flags, after, await owner(kubernetes, namespace, secret), datetime.now(UTC))

    _show(_with_flag(namespace, context, secret, act), output)


def wanted(percent: str | None, expires: str | None, now: datetime) -> FlagValues:
    """The keys that `set` writes; raises InvalidFlag or InvalidInput for what no router could read."""
    share = None if percent is None else parse_percent(percent)
    return FlagValues.on(share, None if expires is None else _instant(expires, now))


def _instant(text: str, now: datetime) -> datetime:
    try:
        after: timedelta | None = durations.parse(text)
    except ValueError:
        after = None
    moment = parse_instant(text) if after is None else now + after
    if moment <= now:
        raise InvalidInput([Problem("--expires", f"{text!r} is in the past: the flag would mean V1")])
    return moment


async def owner(kubernetes: Kubernetes, namespace: str, secret: str) -> Ownership | None:
    """The EngineRollout that owns the flag, as the controller sees it; None: nobody does."""
    rollouts = [Known.found(body) for body in await kubernetes.list(ROLLOUTS, namespace)]
    found = owner_of(secret, rollouts)
    if found is None:
        return None
    return Ownership(found.name.partition("/")[2], found.status.phase.value, ownership.owner(found.status))


def describe(flags: SecretFlagStore, found: FlagSnapshot, owned: Ownership | None, now: datetime) -> dict[str, Any]:
    """What `--output json` prints."""
    state = parse(found.values, now)
    share, reason = effective_percent(state, owned.owner if owned else None)
    return {
        "namespace": flags.namespace,
        "secret": flags.name,
        "exists": found.exists,
        "values": {key: value for key, value in found.values.as_mapping().items() if value is not None},
        "percent": show_percent(share),
        "reason": str(reason),
        "problems": [str(problem) for problem in state.problems],
        "owner": None if owned is None else {"name": owned.name, "phase": owned.phase},
        "writtenBy": {key: found.managers[key] for key in KEYS if key in found.managers},
    }


def _show(answer: Mapping[str, Any], output: Output) -> None:
    if output is Output.JSON:
        print_json(answer)
        return
    where = f"Secret {answer['namespace']}/{answer['secret']}"
    if not answer["exists"]:
        typer.echo(f"{where} does not exist: everything runs on V1")
        return
    for key in KEYS:
        typer.echo(f"{key:32}{answer['values'].get(key, '-')}")
    owned = answer["owner"]
    by = f"; owned by EngineRollout {owned['name']} ({owned['phase']})" if owned else ""
    typer.echo(f"{where}: {answer['percent']} % of new executions go to V2 ({answer['reason']}){by}")
    for problem in answer["problems"]:
        typer.echo(f"problem: {problem}")


def _with_flag(
    namespace: str,
    context: str | None,
    secret: str,
    act: Callable[[Kubernetes, SecretFlagStore], Awaitable[dict[str, Any]]],
) -> dict[str, Any]:
    async def question(kubernetes: Kubernetes) -> dict[str, Any]:
        # Imported here: it takes the client along, which `--help` should not pay.
        from orchestrator_operator.adapters.flag import SecretFlagStore  # noqa: PLC0415 - see above

        return await act(kubernetes, SecretFlagStore(kubernetes, namespace, secret))

    return ask(question, agent="orchestrator-flag", context=context)
