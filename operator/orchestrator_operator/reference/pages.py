"""All pages, by the name of their file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from orchestrator_operator.reference import commands, metrics, reports, resources, settings
from orchestrator_operator.reference.markdown import page, table

FOLDER: Final = Path(__file__).parents[3] / "docs" / "reference"
_CONTENTS: Final = (
    (
        "[Custom resources](resources.md)",
        "Workflow, Execution and EngineRollout: every field, its default, columns, examples",
    ),
    ("[Commands](commands.md)", "every command of `orchestrator`, its options, defaults and examples"),
    ("[Settings](settings.md)", "every environment variable"),
    ("[Metrics](metrics.md)", "every metric: name, type, labels"),
    ("[Reports](reports.md)", "the monitoring questions, with their SQL for PostgreSQL and SQLite"),
)


def pages() -> dict[str, str]:
    """Every page's text, written from the code."""
    return {
        "README.md": page(
            "Reference",
            "Written from the code, and compared with it by `make lint`: what stands here is what this version does.",
            table(("page", "what it lists"), _CONTENTS),
        ),
        "commands.md": commands.render(),
        "metrics.md": metrics.render(),
        "reports.md": reports.render(),
        "resources.md": resources.render(),
        "settings.md": settings.render(),
    }
