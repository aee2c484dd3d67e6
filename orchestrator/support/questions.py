"""What a support bundle asks a store. No question reads a payload: only columns of our own, sizes, and kinds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from orchestrator.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZE: Final = {
    Dialect.POSTGRESQL: "octet_length({column}::text)",
    Dialect.SQLITE: "length(CAST({column} AS BLOB))",
}


@dataclass(frozen=True, slots=True)
class Question:
    """`SELECT columns FROM … `: each column by its name, with its SQL where that differs."""

    selected: tuple[tuple[str, str], ...]
    rest: str

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.selected)

    def also(self, name: str, expression: str) -> Question:
        return replace(self, selected=(*self.selected, (name, expression)))

    def sql(self, dialect: Dialect, schema: str) -> str:
        """With the parameters `:since`, `:id` or `:schema`. `schema` is a checked name; SQLite has none."""
        prefix = f'"{schema}".' if dialect is Dialect.POSTGRESQL else ""
        expressions = ", ".join(f"{expression} AS {name}" for name, expression in self.selected)
        text = f"SELECT {expressions} {self.rest}"
        return text.replace("{schema}", prefix).replace("{data_size}", _SIZE[dialect].format(column="data"))


def _ask(columns: str, rest: str, **computed: str) -> Question:
    return Question((*((name, name) for name in columns.split()), *computed.items()), rest)


SCHEMA: Final = _ask("", "FROM {schema}orchestrator_schema_version", schema_version="version_num")
FACTS: Final = _ask("key value", "FROM {schema}orchestrator_facts")
EVENT_SCHEMAS: Final = _ask(
    "schema_version",
    "FROM {schema}workflow_events WHERE created_at > :since GROUP BY schema_version",
    events="count(*)",
)
ABOUT: Final[Mapping[Dialect, Mapping[str, Question]]] = {
    Dialect.POSTGRESQL: {
        "server": _ask("", "", version="version()", in_recovery="pg_is_in_recovery()"),
        "server_settings": _ask(
            "name setting unit",
            "FROM pg_settings WHERE name IN ('default_transaction_isolation', 'fsync', 'full_page_writes',"
            " 'idle_in_transaction_session_timeout', 'max_connections', 'shared_buffers', 'statement_timeout',"
            " 'synchronous_commit', 'synchronous_standby_names', 'TimeZone')",
        ),
        "tables": _ask(
            "",
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :schema"
            " AND c.relkind = 'r' ORDER BY c.relname",
            name="c.relname",
            about_rows="c.reltuples::bigint",
            bytes="pg_total_relation_size(c.oid)",
        ),
        "connections": _ask(
            "state wait_event_type",
            "FROM pg_stat_activity WHERE datname = current_database() GROUP BY state, wait_event_type",
            connections="count(*)",
            longest_transaction_seconds="extract(epoch FROM max(now() - xact_start))",
        ),
    },
    Dialect.SQLITE: {
        "server": _ask("", "", version="sqlite_version()"),
        "file": _ask(
            "journal_mode",
            "FROM pragma_page_count(), pragma_page_size(), pragma_journal_mode()",
            bytes="page_count * page_size",
        ),
        "tables": _ask("name", "FROM sqlite_master WHERE type = 'table' ORDER BY name"),
    },
}

COUNTS: Final = _ask(
    "engine status assignment",
    "FROM {schema}workflow_executions WHERE created_at > :since OR finished_at IS NULL"
    " GROUP BY engine, status, assignment ORDER BY engine, status, assignment",
    executions="count(*)",
)
_ROW: Final = (
    "id workflow_id revision engine assignment percent attempt status current_node_id done total retries created_at "
    "started_at finished_at fence seq owner due_at step_deadline cancel_requested suspend_requested parent origin "
    "queued slots version dirty written_version written_status written_at"
)
_ERROR: Final = {
    "error_kind": "error ->> 'kind'",
    "error_node": "error ->> 'node'",
    "error_status": "error ->> 'status'",
    "error_retryable": "error ->> 'retryable'",
}
OPEN: Final = _ask(
    _ROW, "FROM {schema}workflow_executions WHERE finished_at IS NULL ORDER BY created_at, id LIMIT 100", **_ERROR
)
FAILED: Final = _ask(
    _ROW,
    "FROM {schema}workflow_executions WHERE status = 'failed' AND created_at > :since"
    " ORDER BY created_at DESC, id LIMIT 100",
    **_ERROR,
)

_EVENT: Final = "execution_id seq type schema_version node_id node_type attempt created_at append_seq timed_ms"
_DETAILS: Final = {  # of the data: our own words, moments and numbers
    "data_bytes": "{data_size}",
    "duration_ms": "data ->> 'duration_ms'",
    "started_at": "data ->> 'started_at'",
    "retry_at": "data ->> 'retry_at'",
    "until": "data ->> 'until'",
    "undo": "data ->> 'undo'",
    "status": "data ->> 'status'",
    "failure_kind": "data -> 'failure' ->> 'kind'",
    "failure_status": "data -> 'failure' ->> 'status'",
    "failure_retryable": "data -> 'failure' ->> 'retryable'",
}
EVENTS: Final = _ask(
    _EVENT,
    "FROM {schema}workflow_events WHERE created_at > :since"
    " ORDER BY created_at DESC, execution_id, seq DESC LIMIT 1000",
    **_DETAILS,
)
HISTORY: Final = _ask(
    _EVENT, "FROM {schema}workflow_events WHERE execution_id = :id ORDER BY seq LIMIT 300", **_DETAILS
)
LOG_LINES: Final = _ask(
    "id timestamp event_message",
    "FROM {schema}edge_logs WHERE timestamp > :since ORDER BY timestamp DESC, id DESC LIMIT 1000",
)

DECISIONS: Final = _ask(  # without `content`: everything that was looked at, which `rollout history` exports
    "rollout number name attempt at action reason message actor prev_hash hash",
    "FROM {schema}rollout_decisions ORDER BY at DESC, rollout, number DESC LIMIT 200",
)
HEADS: Final = _ask(
    "rollout number name attempt at hash",
    "FROM {schema}rollout_decisions d WHERE number = (SELECT max(l.number) FROM {schema}rollout_decisions l"
    " WHERE l.rollout = d.rollout) ORDER BY rollout",
)
COHORTS: Final = _ask(
    "attempt engine criterion outcome assignment percent age value",
    "FROM {schema}rollout_cohorts ORDER BY attempt, criterion, age, percent, engine, outcome LIMIT 5000",
)
RESTARTS: Final = _ask("attempt restart at", "FROM {schema}rollout_totals ORDER BY at DESC LIMIT 100")
