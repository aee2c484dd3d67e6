"""What both databases share: everything that is SQL for SQLAlchemy."""

from orchestrator.store.sql.baselines import Baselines
from orchestrator.store.sql.bins import Bins
from orchestrator.store.sql.decisions import Decisions
from orchestrator.store.sql.evidence import Evidence
from orchestrator.store.sql.logs import Logs
from orchestrator.store.sql.reading import Reading
from orchestrator.store.sql.retention import Retention
from orchestrator.store.sql.steering import Steering
from orchestrator.store.sql.watched import Watched


class SqlStore(Steering, Reading, Logs, Evidence, Baselines, Bins, Decisions, Retention, Watched):
    """The store but for what submitters and workers of V2 do, which is written for each database."""
