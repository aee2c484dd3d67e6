"""The custom resources: what a person writes (spec), what the operator answers (status), and their API names."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "orchestrator.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of the API and how its URLs spell it."""

    kind: str
    plural: str
    short: str

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def crd(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


WORKFLOWS = Resource("Workflow", "workflows", "owf")
EXECUTIONS = Resource("Execution", "executions", "oex")
ROLLOUTS = Resource("EngineRollout", "enginerollouts", "ero")
RESOURCES = (WORKFLOWS, EXECUTIONS, ROLLOUTS)
