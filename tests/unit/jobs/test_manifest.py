"""The Job of an attempt: its name, its marks, and that no workflow can ask for more than is offered."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.jobs.manifest import build_job, execution_label, is_ours, job_name, marks, owner
from orchestrator_operator.jobs.settings import JobSettings

from orchestrator.model import Engine
from orchestrator.nodes.base import StepContext
from orchestrator.nodes.container import ContainerNode

if TYPE_CHECKING:
    from orchestrator.nodes.container_with import ContainerWith

CONTEXT = StepContext("e-1", "shop/order", "shop", "charge", 1, Engine.V2, timedelta(seconds=90))
EVERYTHING: dict[str, Any] = {
    "image": "registry.example/shop/charge:1",
    "command": ["charge", "--cost", "$5 $(HOME)"],
    "args": ["-v"],
    "env": {"LOG": "$LEVEL", "TOKEN": {"secret": "api", "key": "token"}},
    "resources": {"cpu": "500m", "memory": "64Mi"},
    "volumes": [
        {"name": "work", "mountPath": "/out", "emptyDir": "10Mi"},
        {"name": "rules", "mountPath": "/rules", "configMap": "rules", "readOnly": True},
        {"name": "keys", "mountPath": "/keys", "secret": "keys", "readOnly": True},
        {"name": "data", "mountPath": "/data", "claim": "data"},
    ],
    "user": 1000,
    "writableRoot": True,
    "serviceAccount": "charger",
    "token": True,
    "result": {"path": "/out/result.json"},
}
names = st.text(st.characters(codec="utf-8", exclude_characters="/:\x00"), min_size=1, max_size=80)


def spec(**fields: Any) -> ContainerWith:
    parsed: ContainerWith = ContainerNode.parse({"image": "shop/box:1", **fields})
    return parsed


def pod(**fields: Any) -> dict[str, Any]:
    built: dict[str, Any] = build_job(spec(**fields), CONTEXT, JobSettings(), [])["spec"]["template"]["spec"]
    return built


@given(names, names, names, st.integers(1, 1000))
def test_a_name_is_a_dns_label(execution: str, workflow: str, node: str, attempt: int) -> None:
    context = dataclasses.replace(
        CONTEXT, execution_id=execution, workflow_id=f"shop/{workflow}", node_id=node, attempt=attempt
    )
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", job_name(context))
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", execution_label(execution))


@pytest.mark.parametrize(
    "change",
    [
        {"execution_id": "e-2"},
        {"node_id": "charge2"},
        {"attempt": 2},
        {"item": "a"},
        {"key": "e-1/charge:compensate"},
        {"execution_id": "E-1"},
    ],
)
def test_every_attempt_has_a_name_of_its_own(change: dict[str, Any]) -> None:
    assert job_name(dataclasses.replace(CONTEXT, **change)) != job_name(CONTEXT)


def test_a_job_is_known_again_and_another_one_of_its_name_is_not() -> None:
    known = marks(spec(), CONTEXT)
    job = build_job(spec(), CONTEXT, JobSettings(), [])
    assert is_ours(job, known)
    other = build_job(spec(args=["--all"]), CONTEXT, JobSettings(), [])
    assert not is_ours(other, known)
    assert not is_ours({"metadata": {"name": job["metadata"]["name"]}}, known)
    later = build_job(spec(), dataclasses.replace(CONTEXT, timeout=timedelta(seconds=91)), JobSettings(), [])
    assert not is_ours(later, known)


def test_settings_that_changed_meanwhile_do_not_make_it_a_strangers() -> None:
    job = build_job(spec(), CONTEXT, JobSettings(kept=timedelta(days=1)), [owner("order-1", "e-1")])
    assert is_ours(job, marks(spec(), CONTEXT))


def test_a_pod_has_no_more_rights_than_the_standard_restricted_allows() -> None:
    built = pod()
    (container,) = built["containers"]
    assert built["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in built
    assert built["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not built.keys() & {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"}


def test_all_that_a_workflow_can_say_stays_within_restricted() -> None:
    built = pod(**EVERYTHING)
    (container,) = built["containers"]
    assert built["securityContext"]["runAsNonRoot"] is True
    assert built["securityContext"]["runAsUser"] == 1000
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    kinds = [next(kind for kind in volume if kind != "name") for volume in built["volumes"]]
    assert kinds == ["emptyDir", "configMap", "secret", "persistentVolumeClaim"]
    assert (built["serviceAccountName"], built["automountServiceAccountToken"]) == ("charger", True)


def test_what_kubernetes_would_expand_stays_as_it_was_written() -> None:
    (container,) = pod(**EVERYTHING)["containers"]
    assert container["command"][-1] == "$$5 $$(HOME)"  # $$ is Kubernetes' way to write a $
    assert {"name": "LOG", "value": "$$LEVEL"} in container["env"]


def test_a_secret_is_handed_on_by_reference() -> None:
    (container,) = pod(**EVERYTHING)["containers"]
    reference = {"secretKeyRef": {"name": "api", "key": "token"}}
    assert {"name": "TOKEN", "valueFrom": reference} in container["env"]


def test_the_program_is_told_its_idempotency_key() -> None:
    (container,) = pod()["containers"]
    assert {"name": "ORCHESTRATOR_IDEMPOTENCY_KEY", "value": "e-1/charge"} in container["env"]


def test_the_job_keeps_the_steps_time_and_repeats_nothing_itself() -> None:
    built = build_job(spec(), CONTEXT, JobSettings(), [])["spec"]
    assert (built["activeDeadlineSeconds"], built["backoffLimit"]) == (90, 0)
    assert built["template"]["spec"]["restartPolicy"] == "Never"
