"""The operator's settings: environment variables `ORCHESTRATOR_…`, each of which `orchestrator operator run` also
takes as an option. One sentence a setting, here and nowhere else.
"""

from __future__ import annotations

import os
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from orchestrator import durations
from orchestrator.door import settings as door
from orchestrator.errors import InvalidInput, Problem
from orchestrator.settings import Described, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

PREFIX = "ORCHESTRATOR_"


def _seconds(value: Any) -> Any:
    return durations.parse(value).total_seconds() if isinstance(value, str) else value


def _address(value: str) -> str:
    if value:
        door.address(value)
    return value


def _ip(value: str) -> str:
    return str(ip_address(value)) if value else ""


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]


class InvalidSettings(InvalidInput):
    """Settings that the operator cannot start with; each problem names its environment variable."""


class Settings(BaseModel):
    """Frozen; made by `read`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: Annotated[
        str, Field(min_length=1, description="The operator's own: it holds the flag, rollouts and the Lease.")
    ] = "default"
    scope: Annotated[
        Literal["namespace", "cluster"],
        Field(description="Whose Workflows and Executions are served: the own namespace's, or every one's."),
    ] = "namespace"
    database: Annotated[
        str,
        Field(min_length=1, description="The store: sqlite:///path, a path, or postgresql://user:password@host/name."),
    ] = "./orchestrator.db"
    schema_: Annotated[str, Field(alias="schema", min_length=1, description="PostgreSQL's schema.")] = "public"
    patience: Annotated[
        Seconds, Field(description="With a PostgreSQL that is reached and does not answer: then it is asked anew.")
    ] = 10.0
    flag_secret: Annotated[
        str, Field(min_length=1, description="The Secret that holds USE_ORCHESTRATOR_V2 and its two companions.")
    ] = "orchestrator-flags"  # noqa: S105 - a Secret's name, not its content
    prometheus: Annotated[
        str,
        Field(pattern=r"^(https?://.+)?$", description="Prometheus, for the rollout's evidence; empty: always blind."),
    ] = ""
    http_allow: Annotated[
        str, Field(description="Hosts and CIDRs that a rollout's webhook may reach although they are not public.")
    ] = ""
    v1: Annotated[
        Literal["off", "builtin", "http"],
        Field(description="The legacy engine: off (everything runs on V2), builtin, or http (see the workers')."),
    ] = "builtin"
    embedded_worker: Annotated[
        Literal["off", "on"],
        Field(
            description="Whether this process runs executions, too: for small installations. On SQLite it must be the "
            "only one; the worker's own settings are read from the environment."
        ),
    ] = "off"
    containers: Annotated[
        Literal["off", "kubernetes"],
        Field(description="Whether workflows may have container nodes: what the workers' setting of this name is."),
    ] = "off"
    kubeconfig: Annotated[
        str | None, Field(description="A kubeconfig file; else KUBECONFIG, the pod's own account, or ~/.kube/config.")
    ] = None
    metrics_host: Annotated[str, Field(description="The address that /metrics, /healthz and /livez listen on.")] = (
        "127.0.0.1"
    )
    metrics_port: Annotated[
        int,
        Field(ge=0, le=65535, description="The port of /metrics, /healthz and /livez; 0 takes a free one and logs it."),
    ] = 9464
    leader_election: Annotated[
        Literal["on", "off"],
        Field(description="Whether a Lease says which of several operators acts; off where there is only ever one."),
    ] = "on"
    lease_name: Annotated[str, Field(min_length=1, description="The Lease's name.")] = "orchestrator-operator"
    lease_duration: Annotated[
        int,
        Field(ge=3, le=600, description="Seconds after which another operator takes over from one that is silent."),
    ] = 15
    identity: Annotated[
        str,
        Field(
            max_length=200,
            description="This operator's name in the Lease, which no other one has at the same time: a process that is "
            "restarted under its name leads again at once. Empty: the host's name and a random part.",
        ),
    ] = ""
    resync_interval: Annotated[Seconds, Field(description="How often everything is compared with the store.")] = 60.0
    watch_silence: Annotated[
        Seconds,
        Field(
            description="How long a watch may tell nothing until it is opened anew; the API server says something "
            "each minute, if only that all is well."
        ),
    ] = 70.0
    status_interval: Annotated[
        Seconds, Field(description="At most one status write of an execution in this time while its node changes.")
    ] = 5.0
    status_writes: Annotated[int, Field(ge=1, le=256, description="Status writes in flight at once.")] = 16
    door_listen: Annotated[
        str, AfterValidator(_address), Field(description=f"{door.LISTEN} Empty: there is no door.")
    ] = ""
    door_tokens: Annotated[str, Field(description=door.TOKENS)] = ""
    door_address: Annotated[
        str,
        AfterValidator(_ip),
        Field(description="The Pod's own IP, to which the Service orchestrator-door leads while its door is open."),
    ] = ""
    door_executions: Annotated[
        Literal["store", "resources"],
        Field(description="What the door makes: executions in the store alone, or Execution resources."),
    ] = "store"
    door_ttl: Annotated[
        Seconds, Field(description="How long after their end the door's Execution resources are deleted.")
    ] = 3600.0
    door_wait: Annotated[Seconds, Field(description=door.WAIT)] = 60.0
    door_waits: Annotated[int, Field(ge=0, le=10_000, description=door.WAITS)] = 500
    door_backlog: Annotated[int, Field(ge=1, description=door.BACKLOG)] = 1000
    door_body: Annotated[int, Field(ge=1024, description=door.BODY)] = 1 << 20
    tracing: Annotated[
        Literal["off", "on"], Field(description="Spans of the door's requests; needs the extra `otel`.")
    ] = "off"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="The least severe log line that is written.")
    ] = "info"
    log_format: Annotated[Literal["text", "json"], Field(description="How log lines look.")] = "text"

    @property
    def watched(self) -> str:
        """The namespace whose resources are served; "" for those of all namespaces."""
        return "" if self.scope == "cluster" else self.namespace

    @model_validator(mode="after")
    def _a_door_has_a_lock(self) -> Self:
        if self.door_listen and not self.door_tokens:
            raise ValueError(f"{variable('door_tokens')} is required with {variable('door_listen')}: {door.TOKENS}")
        return self


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.rstrip("_").upper()


def fields() -> dict[str, FieldInfo]:
    """Every setting as its option spells it, with its declaration."""
    return {(info.alias or name): info for name, info in Settings.model_fields.items()}


def described() -> tuple[Described, ...]:
    """Every setting of the operator."""
    return tuple(
        Described(variable(name), _default(info), str(info.description), choices(info))
        for name, info in fields().items()
    )


def _default(info: FieldInfo) -> str:
    return durations.show(timedelta(seconds=info.default)) if isinstance(info.default, float) else shown(info.default)


def choices(info: FieldInfo) -> tuple[str, ...]:
    """The words that a setting accepts, if it is one of a few."""
    return tuple(str(word) for word in get_args(info.annotation) if isinstance(word, str))


def read(environment: Mapping[str, str] | None = None, **options: Any) -> Settings:
    """Options win over the environment; None is an option that was not given. Raises InvalidSettings."""
    given = os.environ if environment is None else environment
    values: dict[str, Any] = {name: given[variable(name)] for name in fields() if variable(name) in given}
    values |= {name: value for name, value in options.items() if value is not None}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise InvalidSettings(
            [
                Problem(variable(str(item["loc"][0])), f"{item['msg']} (got {item['input']!r})")
                if item["loc"]
                else Problem("", item["msg"].removeprefix("Value error, "))
                for item in error.errors()
            ]
        ) from error
