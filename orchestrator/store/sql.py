"""What both databases share: everything but the statement that commits appends."""

from __future__ import annotations

from orchestrator.store.claiming import Claiming
from orchestrator.store.evidence import Evidence
from orchestrator.store.logs import Logs
from orchestrator.store.reading import Reading
from orchestrator.store.submitting import Submitting
from orchestrator.store.watched import Watched


class SqlStore(Submitting, Claiming, Reading, Logs, Evidence, Watched):
    """The store on SQLAlchemy; PostgreSQL and SQLite add what differs."""
