"""Which runtime runs `container` nodes: found by its name in the entry point group `orchestrator.containers`.

The engine's package knows no cluster; `orchestrator_operator` brings `kubernetes`.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Final

from orchestrator.errors import InvalidInput, Problem
from orchestrator.nodes.container import SETTING

if TYPE_CHECKING:
    from orchestrator.nodes.container import ContainerRuntime

OFF: Final = "off"
_GROUP: Final = "orchestrator.containers"


async def open_containers(name: str) -> ContainerRuntime | None:
    """The runtime of a name; None for `off`. Raises InvalidInput, and what the runtime raises that cannot start."""
    if name == OFF:
        return None
    known = {entry.name: entry for entry in metadata.entry_points(group=_GROUP)}
    if name not in known:
        there_are = ", ".join([OFF, *sorted(known)])
        raise InvalidInput([Problem(SETTING, f"there is no container runtime {name!r}; there are {there_are}")])
    runtime: ContainerRuntime = await known[name].load()()
    return runtime
