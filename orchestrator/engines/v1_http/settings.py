"""The settings of V1 behind HTTP: environment variables `ORCHESTRATOR_V1_…`, read when `ORCHESTRATOR_V1=http`."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    SecretStr,
    ValidationError,
    model_validator,
)

from orchestrator import durations
from orchestrator.engines.v1_http.words import Words
from orchestrator.errors import InvalidInput, Problem
from orchestrator.nodes.http_with import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "ORCHESTRATOR_V1_"
_IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$")
_LISTEN = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[^\[\]:\s]+):([0-9]{1,5})$")
_HEADER = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")  # RFC 9110, 5.6.2
_OURS = frozenset(
    {"idempotency-key", "x-orchestrator-engine", "content-type", "content-length", "host", "accept-encoding"}
)
_HIGHEST_PORT = 65535


class Outcome(StrEnum):
    """How the outcome of an execution is learnt."""

    RESPONSE = "response"
    TABLE = "table"
    CALLBACK = "callback"


def _duration(value: Any) -> Any:
    if isinstance(value, str):
        value = durations.parse(value)
    if isinstance(value, timedelta) and value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


def _url(text: str) -> str:
    if parse_url(text).raw_fragment:
        raise ValueError("must not contain a #fragment")
    return text


def _identifier(text: str) -> str:
    if not _IDENTIFIER.match(text):
        raise ValueError("is no plain name: letters, digits and _ only, 63 at most")
    return text


def _table(text: str) -> str:
    parts = text.split(".")
    if len(parts) > 2:  # noqa: PLR2004 - as the message says
        raise ValueError("is neither a table nor schema.table")
    for part in parts:
        _identifier(part)
    return text


def _listen(text: str) -> str:
    match = _LISTEN.match(text)
    if match is None or int(match[2]) > _HIGHEST_PORT:
        raise ValueError("is no address:port, such as 0.0.0.0:8091 or [::]:8091")
    return text


def _header(text: str) -> str:
    if not _HEADER.match(text):
        raise ValueError("is no header name")
    if text.lower() in _OURS:
        raise ValueError("is a header that the adapter sets itself")
    return text


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise ValueError("there is no such file")
    return text


def _words(value: Any) -> Any:
    return Words.parse(value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Url = Annotated[str, AfterValidator(_url)]
Column = Annotated[str, AfterValidator(_identifier)]
File = Annotated[str, AfterValidator(_file)]


class V1HttpSettings(BaseModel):
    """Frozen; made by `read`. Each field's variable is its name in capitals behind `ORCHESTRATOR_V1_`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[Url, Field(description="Where executions are posted to; https://, or http:// with PLAIN_HTTP.")]
    outcome: Annotated[Outcome, Field(description="How the end of an execution is learnt.")]
    timeout: Annotated[
        Duration, Field(description="An execution without an outcome after this time has failed, kind V1Timeout.")
    ] = timedelta(hours=1)
    plain_http: Annotated[
        bool, Field(description="Allow http:// to hosts other than this machine: token and inputs go in clear.")
    ] = False
    token_file: Annotated[
        File | None, Field(description="A file with the credential for the endpoint; read anew for each request.")
    ] = None
    token_header: Annotated[
        str,
        AfterValidator(_header),
        Field(description="The header that carries it; Authorization gets `Bearer` in front of a bare token."),
    ] = "Authorization"  # noqa: S105 - a header's name, not its content
    cancel_url: Annotated[
        Url | None,
        Field(description="Where a cancel is posted to; `{id}` in it stands for the execution. None: only recorded."),
    ] = None
    statuses: Annotated[
        InstanceOf[Words],
        BeforeValidator(_words),
        Field(
            default_factory=Words,
            description="Further status words: `word=running|success|failed|cancelled`, separated by commas.",
        ),
    ]
    response_status: Annotated[
        str,
        Field(
            description="With `response`: the field of the answer that holds the status word, beside `output` and "
            "`error`; empty: any 2xx is a success, and the answer is the output."
        ),
    ] = ""
    poll: Annotated[Duration, Field(description="With `table`: the time between two looks, give or take 30 %.")] = (
        timedelta(seconds=2)
    )
    table_database: Annotated[
        SecretStr | None,
        Field(description="With `table`: the legacy database, postgresql://… or sqlite:///…, by a login of its own."),
    ] = None
    table: Annotated[
        str, AfterValidator(_table), Field(description="With `table`: its table of executions, or schema.table.")
    ] = "workflow_executions"
    table_id: Annotated[Column, Field(description="With `table`: the column that holds the id that was posted.")] = "id"
    table_status: Annotated[Column, Field(description="With `table`: the column with the status word.")] = "status"
    table_output: Annotated[
        Column, Field(description="With `table`: the column with the output; there need not be one of this name.")
    ] = "output"
    table_error: Annotated[
        Column, Field(description="With `table`: the column that says what failed; there need not be one.")
    ] = "error"
    table_node: Annotated[
        Column, Field(description="With `table`: the column with the current node; there need not be one.")
    ] = "current_node_id"
    callback_url: Annotated[
        Url | None, Field(description="With `callback`: what the legacy engine calls, /ID is added to it.")
    ] = None
    callback_listen: Annotated[
        str | None,
        AfterValidator(lambda text: text if text is None else _listen(text)),
        Field(description="With `callback`: the address:port that this worker listens on for it."),
    ] = None
    callback_secret_file: Annotated[
        File | None,
        Field(
            description="With `callback`: a file with a secret a line, 32 characters at least, the same for all "
            "workers; the first makes the tokens, all are accepted."
        ),
    ] = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems: list[str] = []
        for name in ("url", "cancel_url"):
            url = getattr(self, name)
            if url and not (self.plain_http or url.startswith("https:") or _is_this_machine(parse_url(url).raw_host)):
                problems.append(
                    f"{variable(name)}: must begin with https://; {variable('plain_http')}=true allows http://"
                )
        needed = {
            Outcome.RESPONSE: (),
            Outcome.TABLE: ("table_database",),
            Outcome.CALLBACK: ("callback_url", "callback_listen", "callback_secret_file"),
        }[self.outcome]
        missing = [name for name in needed if getattr(self, name) is None]
        problems += [f"{variable(name)}: is required with {variable('outcome')}={self.outcome}" for name in missing]
        if problems:
            raise ValueError("\n".join(problems))
        return self


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def described(shown: Callable[[object], str]) -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Each setting: variable, default as `shown` writes it, sentence, words. `required` has no default."""
    return [
        (
            variable(name),
            "required" if info.is_required() else "" if info.default_factory else shown(info.default),
            str(info.description),
            tuple(word.value for word in Outcome) if info.annotation is Outcome else (),
        )
        for name, info in V1HttpSettings.model_fields.items()
    ]


def read(environment: Mapping[str, str]) -> V1HttpSettings:
    """The settings; raises InvalidInput that names every wrong variable, and quotes none that may hold a password."""
    names = {name: variable(name) for name in V1HttpSettings.model_fields}
    given = {name: environment[key] for name, key in names.items() if environment.get(key)}
    try:
        return V1HttpSettings.model_validate(given)
    except ValidationError as error:
        raise InvalidInput(
            [
                problem
                for item in error.errors(include_url=False, include_input=False)
                for problem in _problems(item["loc"], item["msg"], item["type"])
            ]
        ) from None


def _problems(place: tuple[int | str, ...], message: str, kind: str) -> list[Problem]:
    message = message.removeprefix("Value error, ")
    if not place:  # what does not fit together: each line names its own variable
        return [Problem(*line.split(": ", 1)) for line in message.splitlines()]
    return [Problem(variable(str(place[0])), "is required with ORCHESTRATOR_V1=http" if kind == "missing" else message)]


def _is_this_machine(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
