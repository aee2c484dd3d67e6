"""Every node type that there is, by the name that a workflow calls it, and where each may stand."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from orchestrator.nodes.approval import ApprovalNode
from orchestrator.nodes.child import ChildNode
from orchestrator.nodes.container import ContainerNode
from orchestrator.nodes.fail import FailNode
from orchestrator.nodes.http import HttpNode
from orchestrator.nodes.mapping import MapNode
from orchestrator.nodes.python import PythonNode
from orchestrator.nodes.signal import SignalNode
from orchestrator.nodes.switch import SwitchNode
from orchestrator.nodes.transform import TransformNode
from orchestrator.nodes.wait import WaitNode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.nodes.base import NodeType

_TYPES: Final[tuple[type[NodeType[Any]], ...]] = (
    ApprovalNode,
    ChildNode,
    ContainerNode,
    FailNode,
    HttpNode,
    MapNode,
    PythonNode,
    SignalNode,
    SwitchNode,
    TransformNode,
    WaitNode,
)
NODE_TYPES: Final[Mapping[str, type[NodeType[Any]]]] = MappingProxyType({kind.name: kind for kind in _TYPES})
BACKWARD: Final = frozenset(
    {ContainerNode.name, HttpNode.name, PythonNode.name, TransformNode.name}
)  # what may compensate
FOR_ITEMS: Final = BACKWARD | {ChildNode.name}  # what may be done for each item of a map
WITHOUT_OUTPUT: Final = frozenset({FailNode.name, SwitchNode.name, WaitNode.name})
#: The engine decides these: there is nothing to repeat, or to time out.
WITHOUT_ATTEMPTS: Final = frozenset({ApprovalNode.name, FailNode.name, SignalNode.name, SwitchNode.name, WaitNode.name})
UNTIMED: Final = WITHOUT_ATTEMPTS | {ChildNode.name}  # a child's own workflow says how long it may take
#: V1 keeps nothing to wait on, and would find the container of its last walk.
V2_ONLY: Final = frozenset({ApprovalNode.name, ChildNode.name, ContainerNode.name, SignalNode.name})
DETACHED: Final = frozenset({ContainerNode.name})  # what goes on without the worker that began it
