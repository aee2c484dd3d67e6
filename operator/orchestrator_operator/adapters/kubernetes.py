"""The Kubernetes API, as much of it as we need: one class, plain dictionaries, typed errors, timeouts and retries.

    KubernetesError               the server's answer, or that there was none
    ├── NotFound                  404: no such object (or it is gone)
    ├── Conflict                  409: it exists already, or a precondition (resourceVersion, uid) does not hold
    ├── Refused                   any other 4xx: the request will never succeed as it is (RBAC, validation)
    └── Unavailable               no answer, 429 or 5xx, after all retries

Every call is repeated on 429, 5xx and connection errors. So a `Conflict` after a lost answer may be our own write:
who writes with a precondition reads back before concluding that somebody else was there.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from urllib.request import getproxies

import aiohttp
from kubernetes_asyncio import client as kubernetes_client
from kubernetes_asyncio import config as kubernetes_config
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from orchestrator.errors import OrchestratorError
from orchestrator_operator import telemetry
from orchestrator_operator.specs import GROUP, VERSION, Resource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    Body = Mapping[str, Any] | list[dict[str, Any]]  # a list is a JSON patch

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
_PAGE = 500  # objects a list page
_GONE = 410
_UNPROCESSABLE = 422
_READ_BUFFER = 1 << 21  # as the library has it: an object may be large
_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class KubernetesError(OrchestratorError):
    """A call to the Kubernetes API failed; `status` is the HTTP status (0: no answer), `reason` the server's word."""

    def __init__(self, message: str, *, status: int = 0, reason: str = "", retry_after: float = 0.0) -> None:
        self.status, self.reason, self.retry_after = status, reason, retry_after
        super().__init__(message)


class NotFound(KubernetesError):
    """No such object, or it is gone."""


class Conflict(KubernetesError):
    """It exists already, or a precondition (resourceVersion, uid) does not hold: read again, then decide."""


class Refused(KubernetesError):
    """The request is not allowed or not valid; the same one will never succeed."""


class Unavailable(KubernetesError):
    """The API server did not answer, or was too busy, in spite of retries: nothing is known about a write."""


class Kubernetes:
    """A client of one API server. Make it with `connect`; close it with `aclose`."""

    def __init__(self, api: Any, *, timeout: float = 30.0, connect_timeout: float = 5.0, attempts: int = 5) -> None:
        self._api = api
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=connect_timeout)
        self._attempts = attempts
        self.gate: Callable[[], None] = _open  # asked before every write; raises what forbids it

    @classmethod
    async def connect(
        cls,
        kubeconfig: str | None = None,
        *,
        context: str | None = None,
        agent: str = "orchestrator-operator",
        **options: Any,
    ) -> Kubernetes:
        """Log in by a kubeconfig (the argument, else KUBECONFIG, else the pod's own account, else ~/.kube/config) and a
        context of it (the current one if none is named).

        The API server names `agent` as the manager of every field that is written (metadata.managedFields).
        """
        configuration: Any = kubernetes_client.Configuration()
        source = kubeconfig or os.environ.get("KUBECONFIG")
        load_pod_account: Any = kubernetes_config.load_incluster_config
        try:
            if source is None and context is None and in_cluster():
                load_pod_account(client_configuration=configuration)
            else:
                await kubernetes_config.load_kube_config(
                    config_file=source, context=context, client_configuration=configuration
                )
        except (kubernetes_config.ConfigException, OSError) as error:
            raise Refused(
                f"cannot log in to Kubernetes by {source or 'the default kubeconfig'}: {error}; set KUBECONFIG to a "
                f"readable kubeconfig file{' and --context to one of its contexts' if context else ''}",
            ) from error
        api: Any = kubernetes_client.ApiClient(configuration)
        api.user_agent = agent
        if not getproxies():
            _spare_the_search_for_proxies(api)
        return cls(api, **options)

    async def aclose(self) -> None:
        await self._api.close()

    # -- custom objects
    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self.call("GET", path_of(resource, namespace, name))

    async def list(
        self, resource: Resource, namespace: str, *, labels: str = "", limit: int = 0
    ) -> list[dict[str, Any]]:
        """All objects of a kind in a namespace ("" for all namespaces), read page by page; or the first `limit`."""
        query: dict[str, Any] = {"limit": limit or _PAGE} | ({"labelSelector": labels} if labels else {})
        found: list[dict[str, Any]] = []
        async for first, items in self._pages(path_of(resource, namespace), query):
            if first:
                found.clear()
            found += items
            if limit:
                break
        return found

    async def pages(self, resource: Resource, namespace: str) -> AsyncIterator[Sequence[dict[str, Any]]]:
        """The same, a page at a time: who needs them one after the other need not hold them all.

        A list that takes so long that its snapshot is compacted away begins again: then objects come twice.
        """
        async for _, items in self._pages(path_of(resource, namespace), {"limit": _PAGE}):
            yield items

    async def _pages(self, path: str, query: dict[str, Any]) -> AsyncIterator[tuple[bool, Sequence[dict[str, Any]]]]:
        """Each page, and whether it is the first one: of the list, or of a list that began again."""
        while True:
            try:
                page = await self.call("GET", path, query=query)
            except Refused as error:
                if error.status != _GONE or "continue" not in query:
                    raise
                del query["continue"]
                continue
            yield "continue" not in query, page["items"]
            if not (token := page["metadata"].get("continue")):
                return
            query["continue"] = token

    async def patch_status(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        status: Mapping[str, Any] | None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> dict[str, Any]:
        """Merge into the status.

        With `resource_version`, only if the object is still exactly that one (else Conflict): one call. With `uid`,
        only if it is that object and not another one of its name (else Conflict): read, then written. The server
        itself ignores a uid in a patch of a status.
        """
        path = path_of(resource, namespace, name) + "/status"
        if resource_version is None and uid is not None:
            return await self._patch_status_of(resource, namespace, name, status, uid)
        body: dict[str, Any] = {"status": status}
        if resource_version is not None:
            body["metadata"] = {"resourceVersion": resource_version}
        return await self.call("PATCH", path, body=body)

    async def _patch_status_of(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any] | None, uid: str
    ) -> dict[str, Any]:
        for _ in range(self._attempts):
            found = (await self.get(resource, namespace, name))["metadata"]
            if found["uid"] != uid:
                break
            try:
                return await self.patch_status(
                    resource, namespace, name, status, resource_version=found["resourceVersion"]
                )
            except Conflict:
                continue  # somebody wrote in between: that may have been us, by a call whose answer was lost
        raise Conflict(f"{resource.singular} {namespace}/{name} is not the object {uid}, or changes all the time")

    async def patch(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge into metadata or spec."""
        return await self.call("PATCH", path_of(resource, namespace, name), body=body)

    async def take_off(self, resource: Resource, namespace: str, name: str, annotation: str, value: str) -> None:
        """Remove an annotation if it says that, else Conflict: it is gone already, or says something newer."""
        place = "/metadata/annotations/" + annotation.replace("/", "~1")  # RFC 6901; a key has no ~
        body = [{"op": "test", "path": place, "value": value}, {"op": "remove", "path": place}]
        try:
            await self.call("PATCH", path_of(resource, namespace, name), body=body)
        except Refused as error:
            if error.status != _UNPROCESSABLE:
                raise
            raise Conflict(f"{annotation} does not say {value!r} any more", status=error.status) from error

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete; with `uid`, only if it is still that object. Raises NotFound when it is gone already."""
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        await self.call("DELETE", path_of(resource, namespace, name), body=options)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self.call("POST", path_of(resource, namespace), body=body)

    # -- the flag's Secret
    async def secret(self, namespace: str, name: str) -> dict[str, Any]:
        """The Secret as the API has it: `data` is base64, `metadata.managedFields` tells who wrote each key."""
        return await self.call("GET", _secret(namespace, name))

    async def patch_secret(
        self, namespace: str, name: str, values: Mapping[str, str | None], *, resource_version: str | None = None
    ) -> dict[str, Any]:
        """Set keys (None removes one) in one merge patch.

        With `resource_version` it is written only if the Secret is still exactly that one (else Conflict). We send
        `data`, not `stringData`: the API server would leave a removed `stringData` key standing.
        """
        data = {key: None if value is None else encode(value) for key, value in values.items()}
        body: dict[str, Any] = {"data": data}
        if resource_version is not None:
            body["metadata"] = {"resourceVersion": resource_version}
        return await self.call("PATCH", _secret(namespace, name), body=body)

    # -- events
    async def events_about(self, namespace: str, uid: str) -> Sequence[dict[str, Any]]:
        """The core/v1 Events about an object that the API server still has (usually an hour's), the first 500."""
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": _PAGE}
        page = await self.call("GET", f"/api/v1/namespaces/{quote(namespace, safe='')}/events", query=query)
        return tuple(page["items"])

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Post a core/v1 Event. One of the same name is the same event told before: fine."""
        try:
            await self.call("POST", f"/api/v1/namespaces/{quote(namespace, safe='')}/events", body=event)
        except Conflict:
            return

    # -- about the server itself
    async def version(self) -> dict[str, Any]:
        """What the API server says of its own version."""
        return await self.call("GET", "/version")

    async def definition(self, resource: Resource) -> dict[str, Any]:
        """The CustomResourceDefinition that is installed."""
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{quote(resource.crd, safe='')}"
        return await self.call("GET", path)

    # -- the one way to the server
    async def call(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Body | None = None
    ) -> dict[str, Any]:
        """One request, repeated while the server is away or too busy."""

        async def send() -> dict[str, Any]:
            if method != "GET":
                self.gate()  # before each try: the one before may have taken long
            return await self.once(method, path, query=query, body=body)

        try:
            return await send()  # by itself: what counts and waits between tries takes as long as a request
        except Unavailable as error:
            if self._attempts <= 1:
                raise
            first = error
        await asyncio.sleep(max(random.uniform(0.0, _FIRST_PAUSE), _asked(first)))  # noqa: S311 - spreads load, hides nothing
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            stop=stop_after_attempt(self._attempts - 1),
            wait=_wait,
            reraise=True,
        ):
            with attempt:
                return await send()
        raise AssertionError("tenacity either returns or raises")  # pragma: no cover - see the message

    async def once(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
    ) -> dict[str, Any]:
        """One request, neither repeated nor asked the gate."""
        code, began = 0, time.perf_counter()
        try:
            async with await self._ask(method, path, query, body, self._timeout) as response:
                content = await response.read()
            code = response.status
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{method} {path}: no answer from the API server: {error!r}") from error
        finally:
            telemetry.requested(method, code, time.perf_counter() - began)
        if not response.ok:
            raise _failure(method, path, response, content)
        try:
            answer = json.loads(content)
        except ValueError:  # not in UTF-8, either
            answer = None
        if not isinstance(answer, dict):  # something in between has answered: nothing is known about a write
            what = content[:80].decode(errors="replace")
            raise Unavailable(f"{method} {path}: the answer is no JSON object; is there a proxy in between? {what!r}")
        return answer

    async def text(self, path: str, *, query: Mapping[str, Any]) -> str:
        """What is read is text, such as a log; asked once. What is no UTF-8 reads with replacement characters."""
        async with self.stream(path, query=query, seconds=self._timeout.total or 0) as content:
            return b"".join([chunk async for chunk in content]).decode(errors="replace")

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, Any], seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """An answer that comes bit by bit, for at most so many seconds; a connection that breaks is Unavailable."""
        limit = aiohttp.ClientTimeout(total=seconds, sock_connect=self._timeout.sock_connect)
        try:
            async with await self._ask("GET", path, query, None, limit) as response:
                if not response.ok:
                    raise _failure("GET", path, response, await response.read())
                yield response.content.iter_any()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"GET {path}: the answer broke off: {error!r}") from error

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Body | None,
        limit: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json, */*"}  # logs are text
        patch = JSON_PATCH if isinstance(body, list) else MERGE_PATCH
        headers["Content-Type"] = patch if method == "PATCH" else "application/json"
        response: aiohttp.ClientResponse = await self._api.call_api(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=limit,
        )
        return response


def _open() -> None:
    """Nothing forbids a write."""


def in_cluster() -> bool:
    """Whether this process runs in a pod with a service account."""
    return _IN_CLUSTER.exists()


def _failure(method: str, path: str, response: aiohttp.ClientResponse, content: bytes) -> KubernetesError:
    try:
        answer = json.loads(content)
        message, reason = str(answer.get("message", "")), str(answer.get("reason", ""))
    except (ValueError, AttributeError):  # a proxy's HTML page, say
        message, reason = content[:200].decode(errors="replace"), ""
    kinds = {404: NotFound, 409: Conflict, 429: Unavailable}
    server_side = response.status >= 500  # noqa: PLR2004 - HTTP's own border between whose fault it is
    kind = kinds.get(response.status, Unavailable if server_side else Refused)
    wait = response.headers.get("Retry-After", "")
    return kind(
        f"{method} {path}: {response.status} {reason or response.reason}: {message}",
        status=response.status,
        reason=reason,
        retry_after=float(wait) if wait.isdigit() else 0.0,
    )


_FIRST_PAUSE = 0.1  # seconds at most
_BACKOFF = wait_random_exponential(multiplier=2 * _FIRST_PAUSE, max=5.0)


def _wait(state: RetryCallState) -> float:
    """Jittered backoff, but never earlier than the server asked for."""
    return max(_BACKOFF(state), _asked(state.outcome.exception() if state.outcome else None))


def _asked(error: BaseException | None) -> float:
    """The server's own Retry-After, at most half a minute of it."""
    return min(error.retry_after, 30.0) if isinstance(error, KubernetesError) else 0.0


def _spare_the_search_for_proxies(api: Any) -> None:
    """The library lets aiohttp look for proxies in the environment at every request, which takes longer than the
    request itself (measured: 160 µs of 270). There is none, and a process' environment stays as it is.
    """
    rest = api.rest_client
    session: aiohttp.ClientSession = rest.pool_manager
    rest.pool_manager = aiohttp.ClientSession(connector=session.connector, read_bufsize=_READ_BUFFER)
    session.detach()  # its connections are the new one's


def path_of(resource: Resource, namespace: str, name: str = "") -> str:
    """Of one of our objects, or of all of a kind in a namespace ("" for all namespaces)."""
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    leaf = f"/{quote(name, safe='')}" if name else ""
    return f"/apis/{GROUP}/{VERSION}{place}/{resource.plural}{leaf}"


def _secret(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{quote(name, safe='')}"


def encode(value: str) -> str:
    """A Secret's value as its `data` holds it."""
    return base64.b64encode(value.encode()).decode()


def decode(value: str) -> str:
    """A Secret's value from its `data`; what is not UTF-8 reads with replacement characters, never raises."""
    try:
        return base64.b64decode(value).decode(errors="replace")
    except ValueError:
        return ""
