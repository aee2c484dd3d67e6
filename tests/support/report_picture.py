"""The picture of a report in the docs: `python -m tests.support.report_picture docs/images/rollout-report.png`.

A rollout is simulated and recorded, drawn, and photographed in a real browser, from its head to the evidence.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from orchestrator_operator.report import page, rows

from tests.support.browser import Browser
from tests.support.recorded_rollout import SPEC, Recorder

_WIDTH = 1160  # CSS pixels


def main(target: Path) -> None:
    """Write the picture."""
    recorded = Recorder(SPEC).run(timedelta(days=28), timedelta(hours=1))
    story = rows.report(recorded, "the log of decisions of shop/v2")
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        drawn = Path(folder) / "report.html"
        drawn.write_text(page.render(story, story.end), encoding="utf-8")
        tab = browser.page()
        tab.resize(_WIDTH)
        tab.prefer("light")
        tab.open(drawn.as_uri())
        bottom = tab.evaluate("document.querySelector('#evidence').getBoundingClientRect().bottom + scrollY")
        target.parent.mkdir(parents=True, exist_ok=True)
        tab.screenshot(target, height=bottom + 20)
    sys.stdout.write(f"{target}: {target.stat().st_size // 1000} KB\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
