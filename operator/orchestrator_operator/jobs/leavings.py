"""What a Job's Pod left behind: the result, and the end of its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from orchestrator.errors import StepError
from orchestrator_operator.adapters.kubernetes import KubernetesError, Unavailable
from orchestrator_operator.jobs.calls import pause
from orchestrator_operator.jobs.outcome import Broken, pod_of, terminated
from orchestrator_operator.jobs.result import LINE_LIMIT, MESSAGE_LIMIT, log_tail, parse_result, with_last_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.nodes.container_with import ContainerWith
    from orchestrator_operator.jobs.api import JobsApi

_log = structlog.get_logger(__name__)
_LOG_BYTES: Final = 1 << 20
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)  # seconds between attempts to read a log: its node may be gone for good


class Leavings:
    """Reads what the Pods of one Job left."""

    def __init__(
        self, api: JobsApi, spec: ContainerWith, job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]
    ) -> None:
        self._api, self._spec, self._pods = api, spec, pods
        self._name, self._namespace = job["metadata"]["name"], job["metadata"]["namespace"]

    async def output(self) -> dict[str, Any]:
        """The output of a step whose program ended with 0. Raises StepError."""
        pod = next((pod for pod in self._pods if (terminated(pod) or {}).get("exitCode") == 0), None)
        if pod is None:
            message = f"the Job {self._name} succeeded, and its Pod is gone with its result"
            raise StepError("ResultLost", message, retryable=True)
        if self._spec.result.from_ == "lastLine":
            line = await self._read(pod, lines=1, limit=LINE_LIMIT)
            if line is None:
                message = f"nobody has the log of the Pod {pod['metadata']['name']} any more"
                raise StepError("ResultLost", message, retryable=True)
            result = parse_result(line, LINE_LIMIT, "the last line")
        else:
            written = str((terminated(pod) or {}).get("message") or "")
            result = parse_result(written, MESSAGE_LIMIT, self._spec.result.path)
        return {"exitCode": 0, "result": result, "log": await self._tail(pod), "job": self._name}

    async def failure(self, broken: Broken) -> StepError:
        """The failure of a step, with the last line that its program printed."""
        pod = pod_of(self._pods)
        log = await self._tail(pod) if broken.ran and pod is not None else None
        message = f"{with_last_line(broken.message, log)} (Job {self._name})"
        return StepError(broken.kind, message, retryable=broken.retryable)

    async def _tail(self, pod: Mapping[str, Any]) -> str | None:
        """The log's end. Who was given Secrets may print them, and nobody here could mask them: then there is none."""
        if self._spec.secrets or not self._spec.log_lines:
            return None
        log = await self._read(pod, lines=self._spec.log_lines, limit=_LOG_BYTES)
        return None if log is None else log_tail(log)

    async def _read(self, pod: Mapping[str, Any], *, lines: int, limit: int) -> str | None:
        """A log; None when nobody has it."""
        name = pod["metadata"]["name"]
        for seconds in (*_PAUSES, None):
            try:
                return await self._api.log(self._namespace, name, lines=lines, limit=limit)
            except Unavailable as error:
                _log.warning("a log cannot be read", pod=name, error=str(error))
            except KubernetesError as error:
                _log.warning("a log cannot be read", pod=name, error=str(error))
                return None
            if seconds is not None:
                await pause(seconds)
        return None
