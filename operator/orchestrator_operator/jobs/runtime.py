"""Runs an attempt of a `container` node as a Job: begin it or find it again, wait for its end, read what it left.

    allowed? ─▶ create ─ there already ─▶ ours? adopt : refuse ─▶ wait (watch) ─▶ judge ─▶ result and log

The Job goes on whoever waits for it: a cancelled `run` leaves it alone, and the next worker arrives at the same name.
An API server that is away is waited for; that is no failure of the step.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import structlog

from orchestrator.errors import StepError
from orchestrator_operator.adapters.kubernetes import Refused
from orchestrator_operator.jobs.allowed import check_allowed
from orchestrator_operator.jobs.board import Board
from orchestrator_operator.jobs.calls import pause, persist
from orchestrator_operator.jobs.leavings import Leavings
from orchestrator_operator.jobs.manifest import build_job, execution_selector, is_ours, job_name, marks, owner
from orchestrator_operator.jobs.outcome import Broken, Done, Limits, Waiting, judge, over

if TYPE_CHECKING:
    from orchestrator.clock import Clock
    from orchestrator.nodes.base import StepContext
    from orchestrator.nodes.container_with import ContainerWith
    from orchestrator_operator.jobs.api import JobsApi
    from orchestrator_operator.jobs.settings import JobSettings

_log = structlog.get_logger(__name__)

_LOOK: Final = 30.0  # seconds after which a Job is looked at though the watch said nothing
_GONE_WITHIN: Final = 90.0  # seconds for a removed Job's Pods to end: thrice their grace; a dead node's never do


class JobRuntime:
    """A ContainerRuntime (orchestrator/nodes/container.py). One for a worker; close it with `aclose`."""

    def __init__(self, api: JobsApi, settings: JobSettings, clock: Clock) -> None:
        self._api, self._settings, self._clock = api, settings, clock
        self._boards: dict[str, Board] = {}
        self._stops: dict[str, asyncio.Event] = {}  # by idempotency key

    async def run(self, spec: ContainerWith, context: StepContext) -> Any:
        """The output of one attempt: {exitCode, result, log, job}. Raises StepError."""
        check_allowed(spec, context.namespace, self._settings)
        stop = self._stops.setdefault(context.idempotency_key, asyncio.Event())
        try:
            job = await self._begin(spec, context)
            verdict = await self._wait(job, context, stop)
            if isinstance(verdict, Broken) and verdict.remove:
                await self._remove(job)
            pods = await persist(lambda: self._api.pods(context.namespace, job["metadata"]["uid"]))
            left = Leavings(self._api, spec, job, pods)
            if isinstance(verdict, Done):
                return await left.output()
            raise await left.failure(verdict)
        finally:
            if self._stops.get(context.idempotency_key) is stop:
                del self._stops[context.idempotency_key]

    def stop(self, idempotency_key: str) -> None:
        """Nobody wants this attempt any more."""
        self._stops.setdefault(idempotency_key, asyncio.Event()).set()

    async def settle(self, namespace: str, execution_id: str) -> None:
        """Return once no Job of this execution runs: those that do are deleted, and their Pods waited for."""
        selector = execution_selector(execution_id)
        try:
            jobs = await persist(lambda: self._api.jobs(namespace, selector))
            for job in [job for job in jobs if not over(job)]:
                await self._remove(job)
        except StepError as error:
            _log.warning("nobody knows whether containers still run", execution=execution_id, error=error.message)

    async def aclose(self) -> None:
        """End the watches; Jobs go on."""
        boards = list(self._boards.values())
        self._boards.clear()
        for board in boards:
            await board.aclose()
        await self._api.kubernetes.aclose()

    # -- begin, or find again
    async def _begin(self, spec: ContainerWith, context: StepContext) -> dict[str, Any]:
        name, namespace = job_name(context), context.namespace
        owners = await persist(lambda: self._owners(context))
        manifest = build_job(spec, context, self._settings, owners)
        found = None
        while found is None:  # one that was there and is gone by now: create it
            made = await persist(lambda: self._api.create(namespace, manifest))
            if made is not None:
                _log.info("job created", job=name, namespace=namespace, execution=context.execution_id)
                return made
            found = await persist(lambda: self._api.get(namespace, name))
        if not is_ours(found, marks(spec, context)):
            message = f"there is a Job {name} in namespace {namespace} that this step did not make; delete it"
            raise StepError("ContainerNameTaken", message, retryable=False)
        _log.info("job adopted", job=name, namespace=namespace, execution=context.execution_id)
        return found

    async def _owners(self, context: StepContext) -> list[dict[str, Any]]:
        if not context.resource:
            return []
        try:
            uid = await self._api.execution_uid(context.namespace, context.resource)
        except Refused as error:
            _log.warning("a job has no owner: executions cannot be read", error=str(error))
            return []
        # An owner that does not exist would have the Job collected at once.
        return [owner(context.resource, uid)] if uid == context.execution_id else []

    # -- wait
    async def _wait(self, job: dict[str, Any], context: StepContext, stop: asyncio.Event) -> Done | Broken:
        board = self._board(context.namespace)
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        limits = Limits(context.timeout, self._settings.grace)
        changed, waited = asyncio.Event(), ""
        board.listen(name, changed)
        try:
            while True:
                if stop.is_set():
                    await self._remove(job)
                    raise StepError("Stopped", "its execution was cancelled, or its time is over", retryable=False)
                verdict = judge(job, board.pods(uid), self._clock.now(), limits)
                if isinstance(verdict, Broken) and not verdict.remove:  # the watch of Pods may be behind that of Jobs
                    pods = await persist(lambda: self._api.pods(context.namespace, uid))
                    verdict = judge(job, pods, self._clock.now(), limits)
                if not isinstance(verdict, Waiting):
                    break
                waited = verdict.why or waited
                await self._next(changed, stop, (verdict.until - self._clock.now()).total_seconds())
                job = board.job(name, uid) or await self._look(job)
        finally:
            board.leave(name, changed)
        if isinstance(verdict, Broken) and verdict.kind == "Timeout" and waited and waited not in verdict.message:
            return replace(verdict, message=f"{verdict.message}; {waited}")
        return verdict

    async def _next(self, changed: asyncio.Event, stop: asyncio.Event, seconds: float) -> None:
        """Until something changed, the attempt is to stop, or it is time to look."""
        waits = [asyncio.create_task(changed.wait()), asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait(waits, timeout=max(0.0, min(seconds, _LOOK)), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        changed.clear()

    async def _look(self, job: dict[str, Any]) -> dict[str, Any]:
        """A Job that the watch does not know, yet or any more, from the server itself; one that is gone as deleted."""
        meta = job["metadata"]
        found = await persist(lambda: self._api.get(meta["namespace"], meta["name"]))
        if found is not None and found["metadata"]["uid"] == meta["uid"]:
            return found
        return {**job, "metadata": {**meta, "deletionTimestamp": self._clock.now().isoformat()}}

    async def _remove(self, job: dict[str, Any]) -> None:
        """Delete a Job, and wait until it and its Pods are gone, or for as long as Pods are given."""
        meta = job["metadata"]
        namespace, name, uid = meta["namespace"], meta["name"], meta["uid"]
        await persist(lambda: self._api.delete(namespace, name, uid))
        with suppress(TimeoutError):
            async with asyncio.timeout(_GONE_WITHIN):
                while (left := await persist(lambda: self._api.get(namespace, name))) is not None:
                    if left["metadata"]["uid"] != uid:
                        break
                    await pause(0.4)
                _log.info("job removed", job=name, namespace=namespace)
                return
        _log.warning("a job was deleted, and its Pod does not end", job=name, namespace=namespace)

    def _board(self, namespace: str) -> Board:
        if namespace not in self._boards:
            self._boards[namespace] = Board(self._api, namespace)
        return self._boards[namespace]
