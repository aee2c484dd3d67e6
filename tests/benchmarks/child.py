"""A measurement in a process of its own, so that its processor time and its memory are its own.

python -m tests.benchmarks.child package.module:function '{"argument": …}'     prints one line of JSON
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import subprocess
import sys
from typing import Any

import structlog


def call(function: str, arguments: dict[str, Any], patience: float) -> dict[str, Any]:
    """What the async function answered; `{"error": …}` when it failed, or did not answer within so many seconds."""
    command = [sys.executable, "-m", "tests.benchmarks.child", function, json.dumps(arguments)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {patience:.0f} s"}
    if answer.returncode != 0 or not answer.stdout.strip():
        return {"error": answer.stderr.strip()[-2000:] or f"exit code {answer.returncode}"}
    measured: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return measured


def main() -> None:
    """Measure, print, and end at once: what is still in flight needs no tidy end."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    module, _, name = sys.argv[1].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        measured = asyncio.new_event_loop().run_until_complete(function(**json.loads(sys.argv[2])))
    except Exception:
        logging.getLogger(__name__).exception("%s failed", sys.argv[1])
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.write(json.dumps(measured) + "\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
