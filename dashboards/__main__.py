"""Write the dashboards and the alert rules, or say which of the committed files are not what the code says.

python -m dashboards                    write them
python -m dashboards --check            exit code 1 if a committed file differs
python -m dashboards --objective 0.995 --docs https://git.example.com/team/orchestrator/blob/main/docs --output DIR
                                        your own objective, links that lead somewhere, in another folder
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dashboards import alerts, engines_board, operator_board, rollout_board, rules
from dashboards.board import DOCS, render

if TYPE_CHECKING:
    from collections.abc import Sequence

GENERATED = Path(__file__).parent / "generated"
BOARDS = (rollout_board.BOARD, engines_board.BOARD, operator_board.BOARD)
RULES, RESOURCE = "alerts.yaml", "prometheusrule.yaml"


def files(objective: float = alerts.OBJECTIVE, docs: str = DOCS) -> dict[str, str]:
    """Every generated file: its name and its text."""
    made = {board.file: render(board, docs) for board in BOARDS}
    return made | {RULES: rules.plain(objective, docs), RESOURCE: rules.resource(objective, docs)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1: drift."""
    parser = argparse.ArgumentParser(
        prog="python -m dashboards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only compare; exit code 1 on drift")
    parser.add_argument("--output", type=Path, default=GENERATED, help="the folder that the files are in")
    parser.add_argument(
        "--objective", type=_objective, default=alerts.OBJECTIVE, help="share of executions that is to succeed: 0.99"
    )
    parser.add_argument(
        "--docs",
        type=_address,
        default=DOCS,
        help=f"where docs/ can be read: what all links to the runbook begin with (as committed: {DOCS})",
    )
    options = parser.parse_args(arguments)
    wanted = files(options.objective, options.docs)
    folder: Path = options.output
    there = {path.name for path in folder.glob("*")} if folder.is_dir() else set()
    stale = [name for name, text in wanted.items() if name not in there or (folder / name).read_text() != text]
    if options.check:
        strangers = sorted(there - wanted.keys())
        for name in [*stale, *strangers]:
            sys.stderr.write(f"{folder / name} is not what the code says: run python -m dashboards\n")
        return 1 if stale or strangers else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (folder / name).write_text(wanted[name])
        sys.stdout.write(f"{folder / name}\n")
    return 0


def _objective(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share between 0 and 1, such as 0.99")
    return value


def _address(text: str) -> str:
    found = urlsplit(text)
    if found.scheme not in ("http", "https") or not found.netloc or found.query or found.fragment or '"' in text:
        raise argparse.ArgumentTypeError(f"{text} is no address of a folder, such as {DOCS}")
    return text.rstrip("/")


if __name__ == "__main__":
    sys.exit(main())
