"""A store in memory: immutable rows, every commit one assignment."""

from orchestrator.testing.memory.store import MemoryStore

__all__ = ["MemoryStore"]
