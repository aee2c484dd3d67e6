"""`orchestrator rollout simulate`: a spec against recorded history, a file of counts, or worlds that are made up."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator import durations
from orchestrator.cli.options import Output, OutputOption, duration, examples, print_json, print_table
from orchestrator.documents import read_document
from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.rollout.simulation.history import Row, read
from orchestrator_operator.rollout.simulation.replay import Replayed, replay
from orchestrator_operator.rollout.simulation.showing import HEADER, described, line, sentences
from orchestrator_operator.specs import ROLLOUTS
from orchestrator_operator.specs.rollout import RolloutSpec, parse_rollout

if TYPE_CHECKING:
    from orchestrator_operator.rollout.simulation.own_traffic import Recording

_STDIN = "-"
_WIDTH = 200  # of a table that no terminal bounds
EPILOG = examples(
    "orchestrator rollout simulate rollout.yaml --data totals.csv --output json",
    "orchestrator rollout simulate rollout.yaml --prometheus http://localhost:9090 --since 14d",
    "orchestrator rollout simulate rollout.yaml --prometheus http://localhost:9090 --since 28d --v1-against-v1",
    "orchestrator rollout simulate rollout.yaml --worlds --load 1000 --base-rate 0.01",
)


def simulate(  # noqa: PLR0917 - typer's options are parameters
    spec: Annotated[Path, typer.Argument(help="An EngineRollout, YAML or JSON.", exists=True, dir_okay=False)],
    data: Annotated[
        str | None,
        typer.Option(help="A CSV file: start,criterion,age,percent,n1,k1,n2,k2; - is standard input."),
    ] = None,
    prometheus: Annotated[
        str | None, typer.Option(help="The address of a Prometheus that scraped the operator.")
    ] = None,
    since: Annotated[
        str, typer.Option(help="With --prometheus: from so long ago, or from this RFC 3339 moment.")
    ] = "7d",
    until: Annotated[
        str | None, typer.Option(help="With --prometheus: until then, as --since; by default now.")
    ] = None,
    every: Annotated[str | None, typer.Option(help="How long a row's interval is; with --prometheus 1h.")] = None,
    attempt: Annotated[
        str | None, typer.Option(help="With --prometheus: the label `attempt`, if there are several.")
    ] = None,
    worlds: Annotated[bool, typer.Option("--worlds", help="Predict, by rollouts in simulated worlds.")] = False,
    v1_against_v1: Annotated[
        bool,
        typer.Option(
            "--v1-against-v1",
            help="Predict, by V1's own history: its executions split by coins, as if one part had run on V2.",
        ),
    ] = False,
    load: Annotated[float, typer.Option(min=0.001, help="With --worlds: executions an hour.")] = 1000.0,
    base_rate: Annotated[float, typer.Option(min=1e-6, max=0.5, help="With --worlds: V1's share of failures.")] = 0.01,
    runs: Annotated[int, typer.Option(min=1, help="Of a prediction: rollouts of each kind.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Of a prediction: the same seed gives the same figures.")] = 1,
    approve: Annotated[
        bool, typer.Option("--approve", help="A person lets every stage go on at once that awaits approval.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Judge recorded counts as the controller would have judged them, or predict how a schedule will do.

    It asks the controller's own judge and plan; nothing is written anywhere. Every row is printed, also after a hold
    or a rollback, with the evidence at full precision: docs/rollout-evidence.md has the formulas.

    Exit codes: 0 simulated, whatever came of it; 1 Prometheus cannot be read; 2 bad input.
    """
    if sum((data is not None, prometheus is not None, worlds)) != 1:
        raise InvalidInput([Problem("rollout simulate", "say one of --data FILE, --prometheus URL and --worlds")])
    parsed = _spec(spec)
    if worlds:
        if v1_against_v1:
            raise InvalidInput([Problem("--v1-against-v1", "needs a history: --data FILE or --prometheus URL")])
        _predict(parsed, None, load, base_rate, runs, seed, output)
        return
    length = _interval(every, "--every") if every else None
    if prometheus is not None:
        length = length or timedelta(hours=1)
        rows = asyncio.run(_recorded(parsed, prometheus, _window(since, until), length, attempt))
    else:
        rows = _file(str(data), parsed)
    _note_what_is_missing(parsed, rows)
    if v1_against_v1:
        from orchestrator_operator.rollout.simulation.own_traffic import Recording  # noqa: PLC0415 - as in _predict

        recording = Recording(rows, parsed, length=length or parsed.planned)
        _predict(parsed, recording, load, base_rate, runs, seed, output)
        return
    replayed = replay(parsed, rows, length=length, approve=approve)
    if output is Output.JSON:
        _print_as_json(replayed)
    else:
        _print_as_table(list(replayed))


def _spec(path: Path) -> RolloutSpec:
    return parse_rollout(read_document(path, kind=ROLLOUTS.kind).spec)


def _file(data: str, spec: RolloutSpec) -> tuple[Row, ...]:
    if data == _STDIN:
        return read(sys.stdin, spec, "standard input")
    try:
        with Path(data).open(encoding="utf-8-sig", newline="") as lines:
            return read(lines, spec, data)
    except OSError as error:
        raise InvalidInput([Problem("--data", f"cannot read {data}: {error.strerror or error}")]) from None


async def _recorded(
    spec: RolloutSpec, url: str, window: tuple[datetime, datetime], length: timedelta, attempt: str | None
) -> tuple[Row, ...]:
    # Imported here: the client takes a while to import, which a file of counts should not pay.
    from orchestrator_operator.adapters.prometheus_history import recorded  # noqa: PLC0415 - see above

    return await recorded(url, spec, window, length, attempt)


def _note_what_is_missing(spec: RolloutSpec, rows: Sequence[Row]) -> None:
    """On standard error: what the spec judges by and the data say nothing of."""
    there = {(row.preset, row.age) for row in rows}
    for criterion in spec.comparisons:
        ages: Sequence[timedelta | None] = spec.analysis.ages if criterion.preset else (None,)
        for age in ages:
            name = str(criterion.preset or criterion.name)
            if (name, age) not in there:
                at = f" at {durations.show(age)}" if age else ""
                typer.echo(f"note: no row of {name}{at}: as if no execution had been counted there", err=True)
    if spec.guardrails:
        names = ", ".join(criterion.name for criterion in spec.guardrails)
        typer.echo(f"note: counts say nothing of the guardrails, which are left out: {names}", err=True)


def _print_as_json(replayed: Iterator[Replayed]) -> None:
    """Row by row: four weeks of five minutes need not wait for the last one."""
    import json  # noqa: PLC0415 - the only place that writes JSON piece by piece

    typer.echo('{\n"rows": [', nl=False)
    last = None
    for one in replayed:
        typer.echo(("" if last is None else ",") + "\n" + json.dumps(described(one), ensure_ascii=False), nl=False)
        last = one
    typer.echo("\n],")
    ended = {} if last is None else described(last)
    shown = {name: ended.get(name) for name in ("phase", "stage", "percent", "reason", "sentence")}
    typer.echo(f'"end": {json.dumps(shown, ensure_ascii=False)}\n}}')


def _print_as_table(replayed: Sequence[Replayed]) -> None:
    print_table(HEADER, [line(one) for one in replayed], width=_WIDTH)
    for sentence in sentences(replayed):
        typer.echo(sentence)


def _predict(
    spec: RolloutSpec,
    recording: Recording | None,
    load: float,
    base_rate: float,
    runs: int,
    seed: int,
    output: Output,
) -> None:
    # Imported here: scipy's statistics take a second to import.
    from orchestrator_operator.rollout.simulation.forecast import forecast  # noqa: PLC0415 - see above
    from orchestrator_operator.rollout.simulation.showing import forecast_lines  # noqa: PLC0415 - see above
    from orchestrator_operator.rollout.simulation.world import World  # noqa: PLC0415 - see above

    def tell(name: str, done: float) -> None:
        if sys.stderr.isatty():
            typer.echo(f"\r\033[K{name}: {done:.0%}", nl=False, err=True)
        elif done == 1.0:
            typer.echo(f"{name}: simulated {runs} times", err=True)

    world = World("the default", load=load, base=base_rate) if recording is None else recording.world
    now = datetime.now(UTC)
    found = forecast(spec, world, runs=runs, seed=seed, start=now, recording=recording, tell=tell)
    if sys.stderr.isatty():
        typer.echo("\r\033[K", nl=False, err=True)
    if output is Output.JSON:
        print_json(found.described())
        return
    for text in forecast_lines(found):
        typer.echo(text)


def _window(since: str, until: str | None) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    end = now if until is None else _moment(until, "--until", now)
    start = _moment(since, "--since", now)
    if start >= end:
        raise InvalidInput([Problem("--since", f"{start.isoformat()} is not before {end.isoformat()}")])
    return start, end


def _moment(text: str, option: str, now: datetime) -> datetime:
    try:
        return now - durations.parse(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput(
            [Problem(option, f"{text!r} is neither a duration such as 14d nor a moment such as 2026-03-01T00:00:00Z")]
        )
    return moment.astimezone(UTC)


def _interval(text: str, option: str) -> timedelta:
    found = duration(text, option)
    if found <= timedelta(0):
        raise InvalidInput([Problem(option, "must be longer than nothing")])
    return found
