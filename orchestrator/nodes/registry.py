"""Every node type that there is, by the name that a workflow calls it; and those that are to come."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from orchestrator.nodes.http import HttpNode
from orchestrator.nodes.python import PythonNode
from orchestrator.nodes.transform import TransformNode
from orchestrator.nodes.wait import WaitNode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.nodes.base import NodeType

NODE_TYPES: Mapping[str, type[NodeType[Any]]] = MappingProxyType(
    {node_type.name: node_type for node_type in (HttpNode, PythonNode, TransformNode, WaitNode)}
)
NOT_BUILT_YET = frozenset({"approval", "container", "fail", "map", "signal", "switch", "workflow"})
