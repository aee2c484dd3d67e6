"""For tests, ours and users' own: a bench for workflows, a clock, a store in memory, faults, values to begin with."""

from orchestrator.testing import builders, faults
from orchestrator.testing.bench import Bench, Ran, run_workflow
from orchestrator.testing.clock import FakeClock
from orchestrator.testing.memory import MemoryStore
from orchestrator.testing.stubs import Effect, Stub

__all__ = ["Bench", "Effect", "FakeClock", "MemoryStore", "Ran", "Stub", "builders", "faults", "run_workflow"]
