"""`orchestrator executions`: what is there, how it stands, what happened to it, and what is to become of it."""

from orchestrator.cli.executions import controlling, forking, listing, showing, signalling, verifying  # the commands
from orchestrator.cli.executions.common import app, describe, show_failure

__all__ = ["app", "controlling", "describe", "forking", "listing", "show_failure", "showing", "signalling", "verifying"]
