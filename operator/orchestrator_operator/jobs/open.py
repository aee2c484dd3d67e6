"""Opens the runtime for a worker: what the entry point `orchestrator.containers` names."""

from __future__ import annotations

from orchestrator.clock import SystemClock
from orchestrator_operator.adapters.kubernetes import Kubernetes
from orchestrator_operator.jobs.api import JobsApi
from orchestrator_operator.jobs.runtime import JobRuntime
from orchestrator_operator.jobs.settings import JobSettings


async def open_jobs() -> JobRuntime:
    """Log in as the Pod's own account, or by KUBECONFIG. Raises InvalidInput, KubernetesError."""
    settings = JobSettings.read()
    kubernetes = await Kubernetes.connect(agent="orchestrator-worker")
    return JobRuntime(JobsApi(kubernetes), settings, SystemClock())
