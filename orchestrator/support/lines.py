"""Lines of `edge_logs` without what they quote."""

from __future__ import annotations

import re
from typing import Final

_ROUTED: Final = re.compile(r"^Usando Orchestrator V[12]\b")
_FAILED: Final = re.compile(r"^(ERROR execution \S{1,200}: (?:[A-Z][A-Za-z0-9]{2,40}: )?)(.*)$", re.DOTALL)


def shortened(line: str) -> str:
    """Routing lines as they are; of an ERROR line whose it is and the failure's kind; of any other only its length."""
    if _ROUTED.match(line):
        return line
    found = _FAILED.match(line)
    said, rest = found.groups() if found else ("", line)
    return f"{said}({len(rest)} characters left out)"
