"""The Job of one attempt: its name, the marks by which it is known again, and what runs in it. Pure.

The name comes from execution, node, item and attempt alone, so whoever runs the attempt again arrives at the same Job.
Everything about rights is ours; a workflow cannot ask for more than the fields of `with` offer.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING, Any, Final

from orchestrator import tracecontext
from orchestrator.jsonvalues import canonical
from orchestrator_operator.specs import EXECUTIONS, GROUP, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.nodes.base import StepContext
    from orchestrator.nodes.container_with import ContainerWith, Volume
    from orchestrator_operator.jobs.settings import JobSettings

CONTAINER: Final = "step"
MANAGED: Final = ("app.kubernetes.io/managed-by", "orchestrator")
EXECUTION: Final = f"{GROUP}/execution"
STEP, SPEC_HASH = f"{GROUP}/step", f"{GROUP}/spec-hash"  # annotations
SELECTOR: Final = "=".join(MANAGED) + f",{EXECUTION}"
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_GRACE: Final = 30  # seconds between SIGTERM and SIGKILL of a container


def job_name(context: StepContext) -> str:
    """A DNS label of at most 63 characters, another one for every attempt."""
    digest = hashlib.sha256(f"{context.idempotency_key}\n{context.attempt}".encode()).hexdigest()[:20]
    words = (context.workflow_id.partition("/")[2], context.node_id)
    return "-".join([*(slug for word in words if (slug := _slug(word))), digest])


def execution_label(execution_id: str) -> str:
    """An execution's id as a label's value; an id that is none stands there by its hash."""
    if _LABEL.fullmatch(execution_id):
        return execution_id
    return "x-" + hashlib.sha256(execution_id.encode()).hexdigest()[:32]


def execution_selector(execution_id: str) -> str:
    """The label selector of all Jobs of an execution."""
    return f"{'='.join(MANAGED)},{EXECUTION}={execution_label(execution_id)}"


def spec_hash(spec: ContainerWith, context: StepContext) -> str:
    """What was asked for, whichever version of this program asks: it may write the manifest in another way."""
    asked = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    text = canonical({"with": asked, "seconds": context.timeout.total_seconds()})
    return hashlib.sha256(text.encode()).hexdigest()


def marks(spec: ContainerWith, context: StepContext) -> dict[str, dict[str, str]]:
    """The labels and annotations of a Job of ours."""
    labels = {
        MANAGED[0]: MANAGED[1],
        "app.kubernetes.io/component": CONTAINER,
        EXECUTION: execution_label(context.execution_id),
        f"{GROUP}/node": context.node_id[:63].rstrip("_"),
        f"{GROUP}/attempt": str(context.attempt),
    }
    return {"labels": labels, "annotations": {STEP: context.idempotency_key, SPEC_HASH: spec_hash(spec, context)}}


def is_ours(job: Mapping[str, Any], expected: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a Job of the same name is the one that this attempt made, and asks for the same."""
    meta = job.get("metadata") or {}
    found = {"labels": meta.get("labels") or {}, "annotations": meta.get("annotations") or {}}
    return all(found[kind].get(key) == value for kind in found for key, value in expected[kind].items())


def owner(name: str, uid: str) -> dict[str, Any]:
    """The Execution resource whose end is the Job's end, too."""
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": EXECUTIONS.kind, "name": name, "uid": uid}


def build_job(
    spec: ContainerWith, context: StepContext, settings: JobSettings, owners: list[dict[str, Any]]
) -> dict[str, Any]:
    """The manifest. One Pod, never repeated by the Job: retries are the workflow's."""
    known = marks(spec, context)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job_name(context), "namespace": context.namespace, "ownerReferences": owners, **known},
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": max(1, math.ceil(context.timeout.total_seconds())),
            "ttlSecondsAfterFinished": math.ceil(settings.kept.total_seconds()),
            "template": {"metadata": known, "spec": _pod(spec, context)},
        },
    }


def _pod(spec: ContainerWith, context: StepContext) -> dict[str, Any]:
    security: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if spec.user is not None:
        security |= {"runAsUser": spec.user, "runAsGroup": spec.user, "fsGroup": spec.user}
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": spec.token,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE,
        "securityContext": security,
        "containers": [_container(spec, context)],
        "volumes": [{"name": volume.name, **_source(volume)} for volume in spec.volumes],
    }
    if spec.service_account is not None:
        pod["serviceAccountName"] = spec.service_account
    return pod


def _container(spec: ContainerWith, context: StepContext) -> dict[str, Any]:
    amounts = {key: value for key, value in (("cpu", spec.resources.cpu), ("memory", spec.resources.memory)) if value}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.image,
        "env": _environment(spec, context),
        "resources": {"requests": amounts, "limits": amounts},
        "volumeMounts": [
            {"name": volume.name, "mountPath": volume.mount_path, "readOnly": volume.read_only}
            for volume in spec.volumes
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": not spec.writable_root,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": spec.result.path,
        "terminationMessagePolicy": "File",
    }
    for key, value in (("command", spec.command), ("args", spec.args)):
        if value is not None:
            # Kubernetes expands $(NAME) in these, and $$ is how it writes a $: what the workflow says is meant as it is
            container[key] = [word.replace("$", "$$") for word in value]
    return container


def _environment(spec: ContainerWith, context: StepContext) -> list[dict[str, Any]]:
    own = {
        "ORCHESTRATOR_IDEMPOTENCY_KEY": context.idempotency_key,
        "ORCHESTRATOR_EXECUTION": context.execution_id,
        "ORCHESTRATOR_ATTEMPT": str(context.attempt),
    }
    if context.trace is not None:
        own |= {name.upper(): value for name, value in tracecontext.headers(context.trace).items()}
    variables: list[dict[str, Any]] = []
    for name, value in {**own, **spec.env}.items():
        if isinstance(value, str):
            variables.append({"name": name, "value": value.replace("$", "$$")})
        else:
            variables.append({"name": name, "valueFrom": {"secretKeyRef": {"name": value.secret, "key": value.key}}})
    return variables


def _source(volume: Volume) -> dict[str, Any]:
    if volume.empty_dir is not None:
        return {"emptyDir": {"sizeLimit": volume.empty_dir}}
    if volume.config_map is not None:
        return {"configMap": {"name": volume.config_map}}
    if volume.secret is not None:
        return {"secret": {"secretName": volume.secret}}
    return {"persistentVolumeClaim": {"claimName": volume.claim, "readOnly": volume.read_only}}


def _slug(word: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", word.lower())[:20].strip("-")
