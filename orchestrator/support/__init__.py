"""What a person attaches to an issue report: how things stand, without what is nobody else's business.

Every text passes one door (`Bundle.add`), where known secrets and whatever looks like one are blotted out. Inputs,
outputs and payloads never get that far: the questions to the store do not read them.
"""

from orchestrator.support.archive import write
from orchestrator.support.bundle import Bundle, Section
from orchestrator.support.collecting import collect
from orchestrator.support.known import known_secrets
from orchestrator.support.logs import log_section
from orchestrator.support.scrubbing import Scrubber
from orchestrator.support.settings import settings_section
from orchestrator.support.store import store_section
from orchestrator.support.versions import versions_section

__all__ = [
    "Bundle",
    "Scrubber",
    "Section",
    "collect",
    "known_secrets",
    "log_section",
    "settings_section",
    "store_section",
    "versions_section",
    "write",
]
