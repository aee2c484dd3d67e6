"""One order in which everybody locks executions: two that lock several rows never wait for each other in a ring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from orchestrator.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection

_x = t.executions


def lock(c: sa.Connection, ids: Collection[str]) -> None:
    """Take the rows' locks until the transaction ends. Whoever also wants a row of `workflow_limits` takes it first."""
    if len(ids) > 1:  # SQLite has one writer at a time, and needs none of this
        c.execute(sa.select(_x.c.id).where(_x.c.id.in_(list(ids))).order_by(_x.c.id).with_for_update())
