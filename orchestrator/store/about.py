"""What a database says of itself, read without migrating it."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from orchestrator.errors import StoreUnavailable
from orchestrator.store import migrate
from orchestrator.store.open import CONNECT, check_schema, database_url, without_secrets


@dataclass(frozen=True, slots=True)
class About:
    """A database's schema beside this version's."""

    revision: str | None  # None: it has no tables of ours
    readable_from: str | None  # the oldest revision whose code works with it
    known: str  # the newest that this version knows
    epoch: str | None  # RFC 3339: when it was made, or restored


def about(database: str, schema: str) -> About:
    """Raises InvalidInput (the URL), StoreUnavailable (nobody answers)."""
    url = database_url(database)
    check_schema(schema)
    postgres = url.get_backend_name() == "postgresql"
    engine = sa.create_engine(url, connect_args=CONNECT if postgres else {})
    place = schema if postgres else None
    try:
        with engine.connect().execution_options(schema_translate_map={None: place}) as connection:
            revision = migrate.current(connection, place)
            if revision is None:
                return About(None, None, migrate.known_head(), None)
            oldest, epoch = (migrate.fact(connection, key) for key in (migrate.READABLE_FROM, "epoch"))
            return About(revision, oldest, migrate.known_head(), epoch)
    except OperationalError as error:
        raise StoreUnavailable(f"cannot open {without_secrets(url)}: {error.orig}") from error
    finally:
        engine.dispose()
