"""`kubectl_complete-orchestrator`: what kubectl runs when Tab is pressed behind `kubectl orchestrator`.

It is called with the words typed so far, the last of them to be completed, and prints one word a line and then a
directive, as kubectl's own completions do (cobra's protocol). Typer knows the words.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress

import typer

from orchestrator.cli.main import app

_NO_FILES = ":4"  # offer no file names besides


def main() -> None:
    """The console script."""
    words = sys.argv[1:]
    os.environ |= {
        "_ORCHESTRATOR_COMPLETE": "complete_bash",
        "COMP_WORDS": shlex.join(["orchestrator", *words]),
        "COMP_CWORD": str(len(words)),
    }
    with suppress(SystemExit):
        app(prog_name="orchestrator")
    typer.echo(_NO_FILES)
