"""Which credentials a request carries: each is bound to hosts, by the Secret itself and not by who uses it.

Whoever may write a workflow may name any Secret of the namespace; without this rule they could have it sent to a server
of their own. So a Secret says where its values may go, in its key `hosts`, and one that says nothing goes nowhere:

    api.example.com            over https, to any port
    api.example.com:8443       over https, to this port
    *.example.com              over https, to every host below it, not to itself
    http://shop.internal:8080  over plain HTTP: only where it is asked for, since anybody on the way can read it
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import StepError
from orchestrator.secrets import HOSTS, shown, unusable

if TYPE_CHECKING:
    from yarl import URL

    from orchestrator.nodes.http_with import Auth
    from orchestrator.nodes.references import SecretRef
    from orchestrator.secrets import Secret, Secrets

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ENTRY = re.compile(
    r"""(?:(?P<scheme>https?)://)?
    (?:\[(?P<address>[0-9a-f:.]+)\] | (?P<wild>\*\.)?(?P<name>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?)
    (?::(?P<port>[0-9]{1,5}))?""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Binding:
    """One entry of `hosts`."""

    scheme: str
    host: str
    wild: bool  # every host below `host`
    port: int | None  # None: any

    @classmethod
    def parse(cls, text: str) -> Binding:
        """Raises ValueError."""
        found = _ENTRY.fullmatch(text.lower())
        if found is None:
            raise ValueError(f"{text!r} is no host, such as api.example.com, *.example.com or http://shop:8080")
        host = found["address"] or found["name"]
        if found["wild"] and "." not in host:
            raise ValueError(f"{text!r} would cover a whole top-level domain")
        return cls(found["scheme"] or "https", host, bool(found["wild"]), int(found["port"]) if found["port"] else None)

    def covers(self, url: URL) -> bool:
        """Whether a credential may go to this URL."""
        host = (url.raw_host or "").lower().rstrip(".")
        fits = host.endswith(f".{self.host}") if self.wild else host == self.host
        return fits and url.scheme == self.scheme and self.port in (None, url.port)


def credential(auth: Auth, url: URL, secrets: Secrets, namespace: str) -> tuple[str, str]:
    """The header, name and value, that `auth` asks for.

    Raises StepError `SecretRefused` if a Secret's hosts do not cover the URL, and what `Secrets.read` raises.
    """

    def read(reference: SecretRef) -> str:
        secret = secrets.read(namespace, reference.secret, reference.key)
        _check_bound(secret, shown(namespace, reference.secret, reference.key), url)
        return secret.value

    if auth.basic is not None:
        name = auth.basic.username if isinstance(auth.basic.username, str) else read(auth.basic.username)
        if ":" in name:
            raise unusable("the user name contains a colon, which basic authentication cannot send (RFC 7617)")
        pair = base64.b64encode(f"{name}:{read(auth.basic.password)}".encode()).decode()
        secrets.masks.add(pair)  # as good as the password, and echoed in forms of its own
        value = f"Basic {pair}"
    elif auth.header is not None:
        value = auth.header.prefix + read(auth.header.value)
    elif auth.bearer is not None:
        value = "Bearer " + read(auth.bearer)
    else:
        raise AssertionError("the model lets none without any of them through")
    if _CONTROL.search(value):
        raise unusable(f"the credential for {auth.header_name} contains a line break or another control character")
    return auth.header_name, value


def _check_bound(secret: Secret, what: str, url: URL) -> None:
    try:
        bindings = [Binding.parse(entry) for entry in secret.hosts]
    except ValueError as error:
        raise unusable(f"{what}: its key {HOSTS!r}: {error}") from None
    if not any(binding.covers(url) for binding in bindings):
        origin = str(url.origin()) if url.scheme == "http" else url.authority
        listed = f"allows {', '.join(secret.hosts)} only" if secret.hosts else "allows no host"
        raise StepError(
            "SecretRefused",
            f"{what} may not be sent to {url.origin()}: the Secret {listed}; whoever keeps it can add {origin} to its "
            f"key {HOSTS!r}",
            retryable=False,
        )
