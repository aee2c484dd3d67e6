"""What a `container` node is given: image, command, environment, resources, volumes, and where its result stands.

What the input may choose is what the author wrote as an expression: image, command, arguments, values of the
environment, resources. Names of Secrets, volumes and accounts, and all that concerns rights, are fixed text.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from orchestrator.nodes.base import OrExpression, Text, With
from orchestrator.nodes.references import TextOrSecret  # noqa: TC001 - pydantic reads it
from orchestrator.secrets import check_name

RESERVED = "ORCHESTRATOR_"  # our own variables begin so
MOST_LINES = 500
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,499}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PATH = re.compile(r"(/[A-Za-z0-9._-]+)+")


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("is no name of an environment variable")
    if name.startswith(RESERVED):
        raise ValueError(f"is one of our own: names that begin with {RESERVED} are set by the engine")
    return name


def _quantity(text: str) -> str:
    if not _QUANTITY.fullmatch(text):
        raise ValueError("must be a Kubernetes quantity, such as 500m or 256Mi")
    return text


def _image(text: str) -> str:
    if not _IMAGE.fullmatch(text):
        raise ValueError("must be an image's name, such as registry.example/shop/charge:1.4")
    return text


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("must be a short name (a-z, 0-9 and -), and no expression")
    return text


def _path(text: str) -> str:
    if not _PATH.fullmatch(text) or any(part in (".", "..") for part in text.split("/")):
        raise ValueError("must be an absolute path, such as /out/result.json, and no expression")
    return text


def _object(text: str) -> str:
    try:
        return check_name(text)
    except ValueError:
        raise ValueError("must be an object's name (a-z, 0-9, - and .), and no expression") from None


Quantity = Annotated[str, AfterValidator(_quantity), OrExpression]
FixedQuantity = Annotated[str, AfterValidator(_quantity)]
Label = Annotated[str, AfterValidator(_label)]
Path = Annotated[str, AfterValidator(_path)]
ObjectName = Annotated[str, AfterValidator(_object)]


class Resources(With):
    """What the container gets, and cannot exceed."""

    cpu: Quantity | None = Field(default=None, description="Processors, such as 500m.")
    memory: Quantity | None = Field(default=None, description="Memory, such as 256Mi.")


class Volume(With):
    """A folder in the container; exactly one of `emptyDir`, `configMap`, `secret` and `claim` says what is in it."""

    name: Label = Field(description="Its name, one of each.")
    mount_path: Path = Field(alias="mountPath", description="Where it is in the container.")
    read_only: bool = Field(default=False, alias="readOnly", description="Nothing can be written into it.")
    empty_dir: FixedQuantity | None = Field(
        default=None, alias="emptyDir", description="An empty folder of this size, gone with the container."
    )
    config_map: ObjectName | None = Field(default=None, alias="configMap", description="A ConfigMap's name.")
    secret: ObjectName | None = Field(default=None, description="A Secret's name; the settings must allow it.")
    claim: ObjectName | None = Field(
        default=None, description="A PersistentVolumeClaim's name; the settings must allow it."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Volume:
        if [self.empty_dir, self.config_map, self.secret, self.claim].count(None) != 3:  # noqa: PLR2004 - one of the four is there
            raise ValueError("needs exactly one of emptyDir, configMap, secret and claim")
        return self


class Result(With):
    """Where the program leaves what later nodes may read."""

    from_: Literal["file", "lastLine"] = Field(
        default="file", alias="from", description="A file of at most 4 KB, or the last line of what it printed."
    )
    path: Path = Field(default="/dev/termination-log", description="The file; it is there, empty, and can be written.")


class ContainerWith(With):
    """Which image, and what it is given."""

    image: Annotated[str, AfterValidator(_image), OrExpression] = Field(description="The image, with tag or digest.")
    command: list[Text] | None = Field(default=None, description="Instead of the image's entrypoint.")
    args: list[Text] | None = Field(default=None, description="The arguments.")
    env: dict[Annotated[str, AfterValidator(_variable)], TextOrSecret] = Field(
        default_factory=dict, description="Environment variables: text, or {secret, key}."
    )
    resources: Resources = Field(default_factory=Resources, description="Processors and memory.")
    volumes: list[Volume] = Field(default_factory=list, max_length=20, description="Folders in the container.")
    user: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="The number of the user that it runs as; by default the image's, which may not be 0."
    )
    writable_root: bool = Field(
        default=False, alias="writableRoot", description="Whether it may write outside of its volumes."
    )
    service_account: ObjectName | None = Field(
        default=None, alias="serviceAccount", description="Its service account; the settings must allow it."
    )
    token: bool = Field(default=False, description="Whether it gets that account's token.")
    result: Result = Field(default_factory=Result, description="Where its result stands.")
    log_lines: Annotated[int, Field(ge=0, le=MOST_LINES)] = Field(
        default=50, alias="logLines", description="How many of the last lines that it printed the output keeps."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> ContainerWith:
        if self.token and self.service_account is None:
            raise ValueError("token needs a serviceAccount to be the token of")
        for field, values in (
            ("name", [volume.name for volume in self.volumes]),
            ("mountPath", [volume.mount_path for volume in self.volumes]),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"two volumes have the same {field}")
        return self

    @property
    def secrets(self) -> frozenset[str]:
        """The names of all Secrets that the container is given."""
        mounted = {volume.secret for volume in self.volumes if volume.secret is not None}
        return frozenset(mounted | {value.secret for value in self.env.values() if not isinstance(value, str)})

    @property
    def claims(self) -> frozenset[str]:
        """The names of all PersistentVolumeClaims that it mounts."""
        return frozenset(volume.claim for volume in self.volumes if volume.claim is not None)
