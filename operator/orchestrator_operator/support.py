"""The cluster's part of a support bundle: rollouts and the flag in full, the rest by names, conditions and counts.

Every question is asked for itself: an account that may read rollouts need not be allowed to read Secrets or CRDs.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.flag import KEYS
from orchestrator.support import Section
from orchestrator_operator import settings
from orchestrator_operator.adapters.kubernetes import Kubernetes, KubernetesError, NotFound, decode, in_cluster
from orchestrator_operator.adapters.leases import Leases
from orchestrator_operator.specs import EXECUTIONS, ROLLOUTS, WORKFLOWS
from orchestrator_operator.specs.crds import DEFINITIONS, crd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from orchestrator.support import Bundle

_SECONDS, _CONNECT_SECONDS, _TRIES = 10.0, 5.0, 2  # of each question: who waits for a bundle is in a hurry
_MOST_EXECUTIONS = 5_000
_ANNOTATIONS = "orchestrator.dev/"  # ours; others' may hold anything, and only their names are told


async def connected() -> Kubernetes:
    """A client that gives up soon."""
    return await Kubernetes.connect(
        agent="orchestrator-support", timeout=_SECONDS, connect_timeout=_CONNECT_SECONDS, attempts=_TRIES
    )


def cluster_section(
    namespace: str,
    environment: Mapping[str, str],
    connect: Callable[[], Awaitable[Any]] = connected,
) -> Section:
    """What the API server tells of a namespace, if there is a cluster to ask."""

    async def collect(bundle: Bundle) -> None:
        if not _is_there(environment):
            bundle.part("cluster", "left out", "no cluster is configured (KUBECONFIG, a pod's account, ~/.kube/config)")
            return
        kubernetes = await connect()
        try:
            names = [_named(environment, setting) for setting in ("flag_secret", "lease_name")]
            await _Asking(bundle, kubernetes, namespace, *names).everything()
        finally:
            await kubernetes.aclose()

    return Section("cluster", f"asking the cluster about the namespace {namespace}", collect)


def _is_there(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("KUBECONFIG")) or in_cluster() or Path("~/.kube/config").expanduser().exists()


def _named(environment: Mapping[str, str], setting: str) -> str:
    """A name that the operator's settings give."""
    return environment.get(settings.variable(setting)) or str(settings.fields()[setting].default)


class _Asking:
    def __init__(self, bundle: Bundle, kubernetes: Any, namespace: str, flag_secret: str, lease: str) -> None:
        self._bundle, self._kubernetes, self._namespace = bundle, kubernetes, namespace
        self._secret, self._lease = flag_secret, lease

    async def everything(self) -> None:
        """The first question decides whether the server is there; each of the others may be refused."""
        self._bundle.add("cluster/version.json", await self._kubernetes.version())
        questions = {
            "definitions.json": self._definitions,
            "flag.json": self._flag,
            "leader.json": self._leader,
            "rollouts.json": self._rollouts,
            "workflows.json": self._workflows,
            "executions.json": self._executions,
        }
        refused = []
        for name, question in questions.items():
            try:
                self._bundle.add(f"cluster/{name}", await question())
            except KubernetesError as error:
                refused.append(f"{name}: {error}")
        if refused:
            self._bundle.part("cluster", "incomplete", "; ".join(refused))

    async def _definitions(self) -> list[dict[str, Any]]:
        """Whether the installed CRDs are the ones of this version."""
        found = []
        for definition in DEFINITIONS:
            installed = await self._kubernetes.definition(definition.resource)
            ours = crd(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
            theirs = [_properties(version) for version in installed["spec"]["versions"]]
            found.append(
                {
                    "name": installed["metadata"]["name"],
                    "versions": [version["name"] for version in installed["spec"]["versions"]],
                    "stored_versions": (installed.get("status") or {}).get("storedVersions"),
                    "conditions": (installed.get("status") or {}).get("conditions"),
                    "as_this_program_has_it": ours in theirs,
                }
            )
        return found

    async def _flag(self) -> dict[str, Any]:
        """The flag's three keys, and who wrote to its Secret; nothing else of it."""
        secret = await self._kubernetes.secret(self._namespace, self._secret)
        data, meta = secret.get("data") or {}, secret["metadata"]
        return {
            "secret": f"{self._namespace}/{self._secret}",
            "values": {key: decode(data[key]) for key in KEYS if key in data},
            "other_keys": len(data.keys() - set(KEYS)),
            "resource_version": meta.get("resourceVersion"),
            "written_by": [
                {name: entry.get(name) for name in ("manager", "operation", "time")}
                for entry in meta.get("managedFields") or ()
            ],
        }

    async def _leader(self) -> dict[str, Any]:
        """Which operator leads, or that none ever did."""
        try:
            lease = await Leases(self._kubernetes, self._namespace, self._lease).get()
        except NotFound:
            return {"lease": f"{self._namespace}/{self._lease}", "there": False}
        return {"lease": f"{self._namespace}/{self._lease}", "there": True, "spec": lease.get("spec")}

    async def _rollouts(self) -> list[dict[str, Any]]:
        found = []
        for body in await self._kubernetes.list(ROLLOUTS, self._namespace):
            events: list[dict[str, Any]] = []
            with suppress(KubernetesError):  # who may read rollouts need not be allowed to list Events
                events = [_event(one) for one in await self._kubernetes.events_about(self._namespace, _uid(body))]
            found.append(_meta(body) | {"spec": body.get("spec"), "status": body.get("status"), "events": events})
        return found

    async def _workflows(self) -> list[dict[str, Any]]:
        """Not their specs, and conditions without messages, which quote the spec."""
        return [
            _meta(body) | {"status": _outline(body), "node_types": _node_types(body)}
            for body in await self._kubernetes.list(WORKFLOWS, self._namespace)
        ]

    async def _executions(self) -> dict[str, Any]:
        bodies = await self._kubernetes.list(EXECUTIONS, self._namespace, limit=_MOST_EXECUTIONS)
        statuses = [body.get("status") or {} for body in bodies]
        counts = Counter((status.get("engine", "-"), status.get("phase", "-")) for status in statuses)
        unwell = [body for body, status in zip(bodies, statuses, strict=True) if _is_unwell(status)]
        return {
            "counted": len(bodies),
            "counts": [{"engine": e, "phase": p, "executions": n} for (e, p), n in sorted(counts.items())],
            "with_a_condition_that_is_false": [_meta(body) | {"status": _outline(body)} for body in unwell[:100]],
        }


def _properties(version: Mapping[str, Any]) -> Any:
    return version.get("schema", {}).get("openAPIV3Schema", {}).get("properties")


def _uid(body: Mapping[str, Any]) -> str:
    return str(body["metadata"]["uid"])


def _meta(body: Mapping[str, Any]) -> dict[str, Any]:
    meta = body["metadata"]
    annotations = meta.get("annotations") or {}
    known = ("name", "namespace", "uid", "generation", "resourceVersion", "creationTimestamp", "deletionTimestamp")
    return {name: meta[name] for name in known if name in meta} | {
        "annotations": {name: value if name.startswith(_ANNOTATIONS) else "…" for name, value in annotations.items()}
    }


def _outline(body: Mapping[str, Any]) -> dict[str, Any]:
    """A status without what quotes a user's own values."""
    status = body.get("status") or {}
    known = ("phase", "engine", "revision", "currentNode", "progress", "nodes", "startedAt", "finishedAt", "retries")
    words = ("type", "status", "reason", "lastTransitionTime", "observedGeneration")
    conditions = [{w: one[w] for w in words if w in one} for one in status.get("conditions") or ()]
    return {name: status[name] for name in known if name in status} | {"conditions": conditions}


def _node_types(body: Mapping[str, Any]) -> dict[str, int]:
    nodes = (body.get("spec") or {}).get("nodes") or ()
    return dict(Counter(str(node.get("type")) for node in nodes if isinstance(node, dict)))


def _is_unwell(status: Mapping[str, Any]) -> bool:
    return any(condition.get("status") == "False" for condition in status.get("conditions") or ())


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    known = ("type", "reason", "message", "count", "firstTimestamp", "lastTimestamp", "eventTime")
    return {name: event[name] for name in known if event.get(name)}
