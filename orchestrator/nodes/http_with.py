"""The `with` of an `http` node: one request, the credentials that it needs, and which answers are good ones."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from orchestrator.nodes.base import OrExpression, With
from orchestrator.nodes.references import SecretRef, TextOrSecret  # noqa: TC001 - pydantic reads them

MAX_BODY = 1 << 20  # bytes of an answer
MAX_REDIRECTS = 5
_TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")  # RFC 9110, 5.6.2
_VISIBLE = re.compile(r"[\x20-\x7e]*")
_OURS = {
    "idempotency-key": "the engine sends the step's own key, the same for every attempt",
    "x-orchestrator-engine": "the engine sends it",
    "accept-encoding": "answers are read uncompressed",
    **dict.fromkeys(("host", "content-length", "transfer-encoding", "connection"), "the client sends it"),
}


def parse_url(text: str) -> URL:
    """An absolute web address; raises ValueError. The same rules hold for what a redirect points to."""
    try:
        url = URL(text)
        good = url.scheme in ("http", "https") and bool(url.raw_host) and url.port is not None
    except (ValueError, TypeError) as error:
        raise ValueError(f"is no URL: {error}") from None
    if not good:
        raise ValueError("must begin with http:// or https:// and name a host")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError("must not contain a user or a password; use `auth`, or send them in a header")
    return url


def _url(text: str) -> str:
    parse_url(text)
    return text


def _header_name(name: str) -> str:
    if not _TOKEN.match(name):
        raise ValueError("is no header name")
    if reason := _OURS.get(name.lower()):
        raise ValueError(f"this header cannot be set: {reason}")
    return name


def _scalar(value: Any) -> Any:
    if isinstance(value, str) and any(character in value for character in "\r\n\x00"):
        raise ValueError("must not contain a line break or a NUL")
    if not isinstance(value, str | int | float):
        raise ValueError("must be text, a number or true/false")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


def many(value: Any) -> list[Any]:
    """One value or a list of them, as a list."""
    return value if isinstance(value, list) else [value]


def _scalars(value: Any) -> Any:
    for one in many(value):
        _scalar(one)
    return value


def _visible(text: str) -> str:
    if not _VISIBLE.fullmatch(text):
        raise ValueError("must consist of visible ASCII characters")
    return text


def _no_colon(value: str | SecretRef) -> str | SecretRef:
    if isinstance(value, str) and ":" in value:
        raise ValueError("must not contain a colon (RFC 7617)")
    return value


HeaderName = Annotated[str, AfterValidator(_header_name)]
Scalar = Annotated[Any, AfterValidator(_scalar), OrExpression]
Scalars = Annotated[Any, AfterValidator(_scalars), OrExpression]  # one, or a list of them
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Code = Annotated[int, Field(ge=100, le=599), OrExpression]


class BasicAuth(With):
    """RFC 7617."""

    username: Annotated[TextOrSecret, AfterValidator(_no_colon)] = Field(description="Text, or {secret, key}.")
    password: SecretRef = Field(description="{secret, key}.")


class HeaderAuth(With):
    """A header of the service's own choice."""

    name: HeaderName = Field(description="The header, such as X-Api-Key.")
    value: SecretRef = Field(description="{secret, key}.")
    prefix: Annotated[str, AfterValidator(_visible)] = Field(
        default="", description='What stands before the value, such as "Token ".'
    )


class Auth(With):
    """Exactly one way to tell who is asking. No expressions: who an execution is, is not its input's choice."""

    bearer: SecretRef | None = Field(default=None, description="`Authorization: Bearer …` (RFC 6750).")
    basic: BasicAuth | None = Field(default=None, description="`Authorization: Basic …` (RFC 7617).")
    header: HeaderAuth | None = Field(default=None, description="A header of its own.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Auth:
        if [self.bearer, self.basic, self.header].count(None) != 2:  # noqa: PLR2004 - one of the three is there
            raise ValueError("needs exactly one of bearer, basic and header")
        return self

    @property
    def header_name(self) -> str:
        """The header that carries the credential."""
        return self.header.name if self.header is not None else "Authorization"


class HttpWith(With):
    """One request, and which answers are good ones."""

    method: Annotated[Method, OrExpression] = Field(default="GET", description="The request's method.")
    url: Annotated[str, AfterValidator(_url), OrExpression] = Field(description="Where to: http:// or https://.")
    headers: Annotated[dict[HeaderName, Scalar], OrExpression] = Field(
        default_factory=dict, description="The request's headers."
    )
    query: Annotated[dict[str, Scalars], OrExpression] = Field(
        default_factory=dict, description="Added to the URL's query."
    )
    auth: Auth | None = Field(default=None, description="Credentials, by reference to a Secret.")
    body: Any = Field(
        default=None,
        description="Sent as JSON; text with a Content-Type of its own is sent as it is; null sends nothing.",
    )
    expect: Annotated[list[Code], Field(min_length=1), OrExpression] | None = Field(
        default=None, description="The status codes that are good; by default any from 200 to 299."
    )
    max_bytes: Annotated[int, Field(ge=1, le=MAX_BODY), OrExpression] = Field(
        default=MAX_BODY, alias="maxBytes", description="The largest body of a good answer, in bytes."
    )
    max_redirects: Annotated[int, Field(ge=0, le=MAX_REDIRECTS), OrExpression] = Field(
        default=MAX_REDIRECTS, alias="maxRedirects", description="How many redirects are followed; 0: none."
    )

    @model_validator(mode="after")
    def _one_of_a_name(self) -> HttpWith:
        taken = self.headers if isinstance(self.headers, dict) else ()  # an expression, while a workflow is checked
        if self.auth is not None and self.auth.header_name.lower() in map(str.lower, taken):
            raise ValueError(f"{self.auth.header_name} stands in headers and is what auth sends; leave one of them out")
        return self

    def expects(self, status: int) -> bool:
        return status in self.expect if self.expect is not None else 200 <= status < 300  # noqa: PLR2004 - "2xx"
