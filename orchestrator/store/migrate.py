"""Bring a database to this version's schema, and refuse to touch what we did not make.

Old and new workers stand side by side while a release is rolled out, and an old one may be started again: after a
crash, or because the release is taken back. So a schema tells how old a version may be that works with it: every
revision names, as `readable_from`, the oldest one whose code does (docs/upgrades.md has the rules), and the database
keeps that as a fact. An older version that is not too old opens the database, and migrates nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator.errors import SchemaConflict
from orchestrator.store.tables import CONTRACT_NAMES, facts

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

VERSION_TABLE = "orchestrator_schema_version"
READABLE_FROM = "readable_from"  # the fact: the oldest revision whose code works with the database as it is
SCRIPTS = Path(__file__).parent / "migrations"
_LOCK = 7_206_411_905_233  # any number of our own: keeps two starting processes from migrating at once


def lock(connection: Connection) -> None:
    """On PostgreSQL: be the only one who migrates until the caller's transaction ends."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def known_head() -> str:
    """The newest schema that this version knows."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    return config


def migrate(connection: Connection, schema: str | None) -> None:
    """Migrate inside the caller's transaction, which holds the lock. `schema` is None on SQLite.

    Raises SchemaConflict: tables that are not ours, or a schema that is too new for this version.
    """
    _refuse_foreign_tables(connection, schema)
    found = current(connection, schema)
    config = _config()
    scripts = ScriptDirectory.from_config(config)
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        _check_readable(connection, found, str(scripts.get_current_head()))
        return
    config.attributes["connection"] = connection
    config.attributes["schema"] = schema
    command.upgrade(config, "head")
    _remember_epoch(connection)
    if found != scripts.get_current_head():
        head = scripts.get_revision("head")
        _remember(connection, READABLE_FROM, str(getattr(head.module, READABLE_FROM, head.revision)))


def current(connection: Connection, schema: str | None) -> str | None:
    """The revision of a database's schema; None if there is none of ours."""
    options = {"version_table": VERSION_TABLE, "version_table_schema": schema}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def fact(connection: Connection, key: str) -> str | None:
    """What the database remembers of itself."""
    value: str | None = connection.scalar(sa.select(facts.c.value).where(facts.c.key == key))
    return value


def _check_readable(connection: Connection, found: str, known: str) -> None:
    """Revisions are numbers of four digits, so they compare as text."""
    oldest = fact(connection, READABLE_FROM)
    if oldest is None or oldest > known:
        since = f"works with versions from {oldest} on" if oldest else "does not say which older versions it works with"
        raise SchemaConflict(
            f"the database's schema is newer ({found}) than this version's ({known}), and {since}: upgrade this process"
        )


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
    if fact(connection, "epoch") is None:
        _remember(connection, "epoch", datetime.now(UTC).isoformat())


def _remember(connection: Connection, key: str, value: str) -> None:
    connection.execute(facts.delete().where(facts.c.key == key))
    connection.execute(facts.insert().values(key=key, value=value))
