"""One process for one SQLite file: the kernel's lock on a file beside it, given back whenever its holder ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInput, Problem
from orchestrator.store.open import database_url

if TYPE_CHECKING:
    from collections.abc import Iterator


class Scaled(InvalidInput):
    """A second operator with an embedded worker was started on one SQLite store."""


@contextmanager
def sole(database: str) -> Iterator[None]:
    """Hold a SQLite database for this process alone; PostgreSQL is shared as it is. Raises Scaled, InvalidInput.

    SQLite orders its writers, but two operators of one installation would not be the scale that somebody asked for.
    """
    url = database_url(database)
    if url.get_backend_name() != "sqlite":
        yield
        return
    path = Path(f"{url.database}.sole")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        message = f"{path.parent} cannot be written to ({error.strerror}): user {os.geteuid()} must own the volume"
        raise InvalidInput([Problem("ORCHESTRATOR_DATABASE", message)]) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = (
                f"another operator with an embedded worker holds {url.database}: SQLite is for one replica. "
                "Scale the Deployment back to 1, or install deploy/overlays/ha, which shares a PostgreSQL"
            )
            raise Scaled([Problem("ORCHESTRATOR_DATABASE", message)]) from None
        yield
    finally:
        os.close(descriptor)
