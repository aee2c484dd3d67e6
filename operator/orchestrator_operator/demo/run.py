"""One performance from beginning to end: set up, play, judge, show, and leave nothing behind unless asked to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator_operator.demo import checks, screen
from orchestrator_operator.demo.services import FLAG_SECRET
from orchestrator_operator.demo.show import Show
from orchestrator_operator.demo.stack import Stack, demo_folder
from orchestrator_operator.demo.story import Story
from orchestrator_operator.demo.traffic import Traffic
from orchestrator_operator.demo.watch import Watcher
from orchestrator_operator.local import ConsoleReporter, Toolbox
from orchestrator_operator.local.locking import locked

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from rich.console import Console

    from orchestrator_operator.demo.checks import Claim
    from orchestrator_operator.local import Found

_SHOWN = 15  # of the newest executions
_ALONE = 1.0  # seconds to wait for another demo: it would be minutes, so rather say it


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. `ok` only if every claim was seen to hold."""

    claims: Sequence[Claim]
    stuck: str  # what did not happen in time, or ""
    logs: str
    set_up_seconds: float
    seconds: float
    executions: str  # what kubectl shows of the newest
    left_up: dict[str, str] = field(default_factory=dict)  # KUBECONFIG and addresses, when it is kept

    @property
    def ok(self) -> bool:
        return not self.stuck and bool(self.claims) and all(claim.kept for claim in self.claims)

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


def perform(*, rate: float, keep: bool, console: Console, grafana: bool = False) -> Result | None:
    """The whole demo, or None when SIGINT or SIGTERM ended it; LocalError when it cannot be set up.

    Every process is ended before it returns or raises, except with `keep` after a story that came to its end.
    """
    folder, report = demo_folder(), ConsoleReporter(console)
    with locked(folder.with_name("demo.lock"), timeout=_ALONE):
        began = time.monotonic()
        show = Show(console)
        stack = Stack(folder, report)
        if grafana:
            stack.grafana.require()
        show.begin("Setting up", "The first time binaries are downloaded or built; a second run reuses them.")
        _note_other_work(show)
        # Outside of the event loop: it may take minutes, and Ctrl-C has to end it as it ends any function.
        binaries = Toolbox(report=report).get()
        performance = _perform(stack, binaries, show, rate, keep=keep, grafana=grafana, began=began)
        return asyncio.run(_until_interrupted(performance))


def _note_other_work(show: Show) -> None:
    """Executions that wait for a processor are late on either engine: then nobody should wonder at what is seen."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores:
        show.note(f"other work keeps this machine busy (load {load:.1f} on {cores} cores): executions may take longer")


async def _until_interrupted(performance: Coroutine[None, None, Result]) -> Result | None:
    task = asyncio.create_task(performance)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        return await task
    return None


async def _perform(
    stack: Stack,
    binaries: Mapping[str, Found],
    show: Show,
    rate: float,
    *,
    keep: bool,
    grafana: bool,
    began: float,
) -> Result:
    leave = False
    try:
        await stack.start(binaries, detached=keep, grafana=grafana)
        if stack.grafana_url:
            show.note(f"Grafana: {stack.grafana_url}")
        result = await _play(stack, show, rate, set_up=time.monotonic() - began)
        if keep:
            await stack.set_faults(0)  # whoever looks around now finds a shop that serves both engines
            leave = True
            result.left_up.update(stack.addresses())
    finally:
        await stack.close()
        if not leave:
            await asyncio.to_thread(stack.stop)
    return result


def end() -> bool:
    """End what `perform(keep=True)` left up; says whether there was anything. Logs and databases stay to be read."""
    folder = demo_folder()
    with locked(folder.with_name("demo.lock"), timeout=_ALONE):
        return folder.exists() and Stack(folder, ConsoleReporter()).stop()


async def _play(stack: Stack, show: Show, rate: float, set_up: float) -> Result:
    began = time.monotonic()
    run = f"{int(time.time()) % 10**6:06d}"
    traffic = Traffic(stack.kubernetes, namespace=stack.namespace, shop=stack.shop, rate=rate, run=run)
    watcher = Watcher(
        stack.kubernetes,
        namespace=stack.namespace,
        secret=FLAG_SECRET,
        prometheus=stack.cluster.prometheus_url,
        elapsed=traffic.elapsed,
    )
    story = Story(stack, show, watcher, traffic)
    try:
        await story.play()
        claims = checks.judge(await story.facts())
    finally:
        await traffic.stop()
        await show.rest()
        await watcher.stop()
    return Result(
        claims=claims,
        stuck=story.notes.stuck,
        logs=str(stack.logs),
        set_up_seconds=round(set_up, 1),
        seconds=round(time.monotonic() - began, 1),
        executions=await stack.newest(_SHOWN),
    )


def tell(result: Result, console: Console) -> None:
    """The end of the story for a person: the newest executions, each claim with its evidence, where to look."""
    Show(console).listing(result.executions)
    console.print()
    if console.is_terminal:
        console.print(screen.summary(result.claims))
    else:
        for line in screen.summary_lines(result.claims):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    kept = sum(claim.kept for claim in result.claims)
    console.print(f"\n{kept} of {len(result.claims)} claims were seen to hold.", highlight=False)
    if result.stuck:
        console.print(f"The story got stuck: {result.stuck}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"Set up in {result.set_up_seconds:.0f} s, played for {result.seconds:.0f} s. Logs: {result.logs}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if result.left_up:
        console.print("\nEverything is still up, without the traffic (`make down` ends it):", highlight=False)
        left = dict(result.left_up)
        lines = [f"export {name}={left.pop(name)}" for name in list(left) if name.isupper()]
        lines += [f"{left.pop('kubectl')} get owf,ero"]
        lines += [f"{name}: {value}" for name, value in left.items()]
        for line in lines:
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
