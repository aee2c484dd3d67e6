"""For tests, ours and users' own: a clock, a store in memory, faults, and values to begin with."""

from orchestrator.testing import builders, faults
from orchestrator.testing.clock import FakeClock
from orchestrator.testing.memory import MemoryStore

__all__ = ["FakeClock", "MemoryStore", "builders", "faults"]
