"""`python -m orchestrator.testing …`: the program `orchestrator`, with the fault that ORCHESTRATOR_TEST_FAULT names."""

from __future__ import annotations

from orchestrator.cli.main import main
from orchestrator.testing.faults import from_environment

if __name__ == "__main__":
    with from_environment():
        main()
