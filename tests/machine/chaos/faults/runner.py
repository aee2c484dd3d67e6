"""Ends a process at every commit of a shape, lets another go on, and judges what it finds. A program of its own:

    python -m tests.machine.chaos.faults.runner SHAPE --database sqlite --folder DIR --service URL [--cases 30]

Each case forks from one warm process, so a case costs a fraction of a second. It prints a line of JSON: how many cases
there were, which commits were reached, and everything that was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.faults import Moment
from orchestrator.invariants import violations
from orchestrator.store import Filter
from orchestrator.testing.faults import CRASHED, crash_at, lose, parse, record
from tests.machine.chaos.faults.player import Book, opened, play, silence
from tests.machine.chaos.faults.shapes import EXECUTION, SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.machine.chaos.faults.shapes import Shape

_WITHIN = 60  # seconds: a play that takes longer hangs


def main() -> None:
    """Run the cases of one shape."""
    silence()
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--database", required=True, help="`sqlite`, or the URL of a PostgreSQL: a schema a case")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--service", required=True)
    parser.add_argument("--cases", type=int, default=0, help="at most so many, spread evenly; 0: every one")
    chosen = parser.parse_args()
    cases = Cases(SHAPES[chosen.shape], chosen.folder, chosen.database, chosen.service)
    print(json.dumps(cases.run(chosen.cases)), flush=True)  # noqa: T201 - the answer of this program


class Cases:
    """All the faults of one shape on one kind of store."""

    def __init__(self, shape: Shape, folder: Path, database: str, service: str) -> None:
        self._shape, self._folder, self._service = shape, folder, service
        self._database = database
        self._number = 0

    def run(self, most: int) -> dict[str, Any]:
        reached, wrong = self._without_fault()
        cases = [
            (boundary, moment, occurrence)
            for (boundary, moment), times in sorted(reached.items())
            for occurrence in range(1, times + 1)
        ]
        for case in _spread(cases, most) if most else cases:
            wrong += [f"{':'.join(map(str, case))}: {finding}" for finding in self._with_fault(*case)]
        return {
            "cases": len(_spread(cases, most) if most else cases),
            "of": len(cases),
            "wrong": wrong,
            "boundaries": sorted({boundary for boundary, _, _ in cases}),
        }

    def _without_fault(self) -> tuple[Counter[tuple[str, str]], list[str]]:
        folder, database = self._fresh()
        counts = folder / "reached.json"

        def recorded() -> None:
            with record() as reached:
                asyncio.run(play(database, self._shape, folder, self._service))
            told = [[boundary.value, moment.value, times] for (boundary, moment), times in reached.items()]
            counts.write_text(json.dumps(told))

        code = _in_a_fork(recorded)
        wrong = [] if code == 0 else [f"without any fault: the play ended with {code}"]
        reached = Counter({(boundary, moment): times for boundary, moment, times in json.loads(counts.read_text())})
        return reached, wrong + [f"without any fault: {finding}" for finding in self._judged(database, folder)]

    def _with_fault(self, boundary: str, moment: str, occurrence: int) -> list[str]:
        folder, database = self._fresh()
        where = parse(f"{boundary}:{moment}:{occurrence}")
        lost = where[1] is Moment.LOST

        def struck() -> None:
            with lose(where[0], occurrence) if lost else crash_at(*where):
                asyncio.run(play(database, self._shape, folder, self._service))

        code = _in_a_fork(struck)
        if code not in (0, CRASHED):
            return [f"the play with the fault ended with {code}"]
        code = _in_a_fork(lambda: asyncio.run(play(database, self._shape, folder, self._service)))
        if code != 0:
            return [f"the play after it ended with {code}"]
        return self._judged(database, folder)

    def _judged(self, database: str, folder: Path) -> list[str]:
        found: list[str] = []

        async def look() -> None:
            store = await opened(database)
            try:
                for row in await store.executions(Filter(limit=100)):
                    workflow = await store.workflow(row.workflow_id, row.revision)
                    found.extend(str(v) for v in violations(row, await store.events(row.id), workflow))
                    if row.finished_at is None:
                        found.append(f"execution {row.id} is {row.status} at {row.current_node!r} and goes no further")
                    elif row.id == EXECUTION and row.status is not self._shape.status:
                        found.append(f"it ended {row.status}: {row.failure}")
            finally:
                await store.close()

        code = _in_a_fork(lambda: (asyncio.run(look()), (folder / "found.json").write_text(json.dumps(found))))
        if code != 0:
            return [f"judging ended with {code}"]
        return [*json.loads((folder / "found.json").read_text()), *self._effects(folder)]

    def _effects(self, folder: Path) -> list[str]:
        """Every step had its effect, under its own key; requests may repeat, keys may not be anybody else's."""
        prefix = f"{EXECUTION}/"
        keys = {key.removeprefix(prefix) for key in Book(folder / "effects").read() if key.startswith(prefix)}
        wanted = {step for step in self._shape.effects if step != "posted"}
        return [] if keys == wanted else [f"missing effects {sorted(wanted - keys)}, extra {sorted(keys - wanted)}"]

    def _fresh(self) -> tuple[Path, str]:
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir(parents=True)
        return folder, (
            str(folder / "orchestrator.db") if self._database == "sqlite" else f"{self._database}#case{self._number}"
        )


def _spread(cases: list[Any], most: int) -> list[Any]:
    """The first of each kind of commit and moment, and of the others as many as fit, evenly."""
    if len(cases) <= most:
        return cases
    firsts = [case for case in cases if case[2] == 1]
    others = [case for case in cases if case[2] != 1]
    room = max(0, most - len(firsts))
    step = len(others) / room if room else 0
    return firsts + [others[int(index * step)] for index in range(room)]


def _in_a_fork(act: Callable[[], object]) -> int:
    """The exit status of a child that does it; its own traceback goes to standard error."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(_WITHIN)
            act()
            code = 0
        except BaseException:  # noqa: BLE001 - the child must end here, whatever happened in it
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
