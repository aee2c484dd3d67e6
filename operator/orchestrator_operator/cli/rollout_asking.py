"""What the commands of `orchestrator rollout` share: their arguments, and how they reach the cluster."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from orchestrator_operator.cli import connecting
from orchestrator_operator.cli.connecting import Context, Namespace
from orchestrator_operator.specs import ROLLOUTS

__all__ = ["Context", "Name", "Namespace", "ask"]

Name = Annotated[str, typer.Argument(help="The EngineRollout's name.", autocompletion=connecting.names_of(ROLLOUTS))]
ask = partial(connecting.ask, agent="orchestrator-rollout")
