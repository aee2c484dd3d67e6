"""One message to the webhook whose URL lies in a Secret. Whoever knows the URL may post, so it is shown to nobody: not
to logs, Events or status, and neither are the words of errors that may quote it.

The connection is guarded as those of `http` nodes are: who may write EngineRollouts must not reach into the cluster.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from yarl import URL

from orchestrator.errors import OrchestratorError, StepError
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.http_client import open_client
from orchestrator_operator.adapters.kubernetes import KubernetesError, NotFound, Refused, decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.nodes.addresses import Address
    from orchestrator_operator.adapters.kubernetes import Kubernetes

_TRIES: Final = 3
_SECONDS: Final = 5.0  # for one try, name look-up and connection included
_HEADERS: Final = {"Content-Type": "application/json"}
_LONGEST: Final = 10.0  # seconds between two tries
_TOO_MANY, _TIMEOUT, _SERVER = 429, 408, 500  # the answers after which another try may help; from the last one on


class _Again(OrchestratorError):
    """Another try may help."""


class _GiveUp(OrchestratorError):
    """No other try will."""


@dataclass(frozen=True, slots=True)
class _Listed(AllowList):
    """Only what is on the list, public or not: where plain http goes, everybody between can read the URL."""

    def allows(self, host: str, port: int, address: Address) -> bool:
        return any(entry.covers(host, port, address) for entry in self.entries)


class Webhook:
    """Posts JSON. The URL is read from the Secret for each message, so that a new one counts at once."""

    def __init__(self, kubernetes: Kubernetes, namespace: str, allowed: AllowList, *, pause: float = 1.0) -> None:
        """`pause`: seconds that the second try waits at most; a later one waits up to twice as long as that before."""
        self._kubernetes, self._namespace, self._pause = kubernetes, namespace, pause
        self._allowed = {"https": allowed, "http": _Listed(allowed.entries)}
        self._clients: dict[str, aiohttp.ClientSession] = {}

    async def send(self, secret: str, key: str, body: Mapping[str, Any]) -> str:
        """Post it, with three tries; why it was not taken, or "". Says nothing of where the URL leads."""
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_Again),
                stop=stop_after_attempt(_TRIES),
                wait=wait_random_exponential(multiplier=self._pause, max=_LONGEST),
                reraise=True,
            ):
                with attempt:
                    await self._once(secret, key, body)
        except (_Again, _GiveUp) as error:
            return str(error)
        return ""

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.close()

    async def _once(self, secret: str, key: str, body: Mapping[str, Any]) -> None:
        url = await self._url(secret, key)
        client = self._clients.get(url.scheme)
        if client is None:
            client = self._clients[url.scheme] = open_client(self._allowed[url.scheme])
        try:
            posted = client.post(url, json=body, headers=_HEADERS, allow_redirects=False)
            async with asyncio.timeout(_SECONDS), posted as response:
                status = response.status  # the body is nobody's business: it is closed unread
                response.close()
        except StepError as error:
            raise _GiveUp(_refused(error, url)) from None
        except TimeoutError:
            raise _Again(f"no answer within {_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Again(f"no answer: {type(error).__name__}") from None
        if 200 <= status < 300:  # noqa: PLR2004 - HTTP's own borders of success
            return
        again = status >= _SERVER or status in (_TOO_MANY, _TIMEOUT)
        raise (_Again if again else _GiveUp)(f"the answer was HTTP {status}")

    async def _url(self, secret: str, key: str) -> URL:
        where = f"spec.notify.webhook: the key {key} of the Secret {secret}"
        try:
            data = (await self._kubernetes.secret(self._namespace, secret)).get("data") or {}
        except NotFound:
            raise _GiveUp(f"{where} is not there") from None
        except Refused:
            raise _GiveUp(f"{where} may not be read: name the Secret in the operator's Role") from None
        except KubernetesError:
            raise _Again(f"{where} cannot be read now") from None
        text = decode(str(data.get(key) or "")).strip()
        try:
            url = URL(text)
        except ValueError:
            raise _GiveUp(f"{where} holds no URL") from None
        if url.scheme not in self._allowed or not url.host or url.user:
            raise _GiveUp(f"{where} holds no URL that starts with https://")
        return url


def _refused(error: StepError, url: URL) -> str:
    if error.kind != "AddressRefused":
        return error.kind
    plain = " (plain http goes only to hosts that are listed there)" if url.scheme == "http" else ""
    return f"its address is not allowed; ORCHESTRATOR_HTTP_ALLOW of the operator can allow it{plain}"
