"""Bring a database to this version's schema, and refuse to touch what we did not make."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from orchestrator.errors import SchemaConflict
from orchestrator.store.tables import CONTRACT_NAMES, facts

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

VERSION_TABLE = "orchestrator_schema_version"
_LOCK = 7_206_411_905_233  # any number of our own: keeps two starting processes from migrating at once


def lock(connection: Connection) -> None:
    """On PostgreSQL: be the only one who migrates until the caller's transaction ends."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def known_head() -> str:
    """The newest schema that this version knows."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(connection: Connection, schema: str | None) -> None:
    """Migrate inside the caller's transaction, which holds the lock. `schema` is None on SQLite.

    Raises SchemaConflict.
    """
    _refuse_foreign_tables(connection, schema)
    config = _config()
    config.attributes["connection"] = connection
    config.attributes["schema"] = schema
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        known = ScriptDirectory.from_config(config).get_current_head()
        raise SchemaConflict(
            f"the database's schema is newer than this version's ({known}): upgrade this process ({error})"
        ) from error
    _remember_epoch(connection)


def _refuse_foreign_tables(connection: Connection, schema: str | None) -> None:
    inspector = sa.inspect(connection)
    present = {*inspector.get_table_names(schema=schema), *inspector.get_view_names(schema=schema)}
    if VERSION_TABLE in present:
        return
    foreign = sorted(CONTRACT_NAMES & present)
    if foreign:
        where = f"schema {schema!r}" if schema else "this database"
        raise SchemaConflict(
            f"{where} already holds {', '.join(foreign)}, which Orchestrator did not make and will not touch: "
            "give it a schema or a database of its own"
        )


def _remember_epoch(connection: Connection) -> None:
    if connection.execute(sa.select(facts.c.value).where(facts.c.key == "epoch")).first() is None:
        connection.execute(facts.insert().values(key="epoch", value=datetime.now(UTC).isoformat()))
