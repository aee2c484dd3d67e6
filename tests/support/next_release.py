"""The schema as a release after this one would leave it: this version's migrations and one more, in a folder."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from orchestrator.store import migrate

if TYPE_CHECKING:
    from pathlib import Path

_NEXT = '''"""One more column and one more index."""

import sqlalchemy as sa
from alembic import op

revision = "{number:04d}"
down_revision = "{before}"
{readable_from}


def upgrade() -> None:
    op.add_column("workflow_executions", sa.Column("priority", sa.Integer(), nullable=True))
    op.create_index("workflow_executions_priority", "workflow_executions", ["priority"])
'''


def migrations(folder: Path, readable_from: str | None) -> Path:
    """A folder of migrations; `readable_from` is what the next one says of older versions, if it says anything."""
    shutil.copytree(migrate.SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = migrate.known_head()
    said = "" if readable_from is None else f'readable_from = "{readable_from}"'
    text = _NEXT.format(number=int(before) + 1, before=before, readable_from=said)
    (folder / "versions" / "next_release.py").write_text(text)
    return folder
