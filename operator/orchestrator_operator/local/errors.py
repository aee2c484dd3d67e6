"""Everything that can go wrong with the local control plane.

OrchestratorError
└── LocalError                 the root of this package's errors
    ├── ToolUnavailable        a binary could be had from no source; the message lists each and what to do
    │   └── BuildFailed        the Go build of one was tried and did not succeed
    ├── StartFailed            a part ended, or was not ready in time; holds the last lines of its log
    │   └── PortTaken          its port was taken between choosing and listening: worth another try
    ├── NotUp                  asked for something that needs a control plane which is up
    └── Busy                   another process holds the lock for longer than we wait
"""

from __future__ import annotations

from orchestrator.errors import OrchestratorError


class LocalError(OrchestratorError):
    """Something about the local control plane."""


class ToolUnavailable(LocalError):
    """A binary could be had from no source."""


class BuildFailed(ToolUnavailable):
    """The Go build of a binary was tried and did not succeed."""


class StartFailed(LocalError):
    """A part of the control plane ended, or was not ready in time."""


class PortTaken(StartFailed):
    """Somebody took the port between our choosing it and the part's listening on it."""


class NotUp(LocalError):
    """The control plane has to be up for this: `orchestrator local up`."""


class Busy(LocalError):
    """Another process is changing the same thing, and did not finish while we waited."""
