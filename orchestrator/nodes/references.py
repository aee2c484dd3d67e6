"""How a `with` names a secret: by fixed text, so that no input can choose which one is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from orchestrator.nodes.base import Text, With
from orchestrator.secrets import check_key, check_name


class SecretRef(With):
    """A key of a Secret in the execution's namespace."""

    secret: Annotated[str, AfterValidator(check_name)] = Field(description="The Secret's name.")
    key: Annotated[str, AfterValidator(check_key)] = Field(description="The key in it.")


def _kind(value: Any) -> str:
    return "[secret]" if isinstance(value, Mapping | SecretRef) else "[text]"


TextOrSecret = Annotated[
    Annotated[Text, Tag("[text]")] | Annotated[SecretRef, Tag("[secret]")],
    Discriminator(_kind),
]
