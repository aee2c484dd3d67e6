"""Workflows: compiled when they change, kept in memory for new executions and in the store for those running."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator.authoring import check_available, compile_workflow
from orchestrator.errors import InvalidInput, Problem
from orchestrator_operator.adapters.kubernetes import NotFound
from orchestrator_operator.handlers.decide import Compiled
from orchestrator_operator.handlers.seen import mapping, uid
from orchestrator_operator.specs import WORKFLOWS
from orchestrator_operator.specs.conditions import find, same
from orchestrator_operator.specs.workflow import invalid, valid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from orchestrator.clock import Clock
    from orchestrator.store.port import Store
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.handlers.announce import Announcer
    from orchestrator_operator.handlers.guard import Guard

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")  # RFC 1123, as far as a path needs it
_log = structlog.get_logger(__name__)

_Version = tuple[str, int]  # uid and generation: what the compiled form depends on


class WorkflowHandler:
    """Knows every Workflow that is watched, as it is now."""

    def __init__(
        self,
        store: Store,
        kubernetes: Kubernetes,
        announcer: Announcer,
        guard: Guard,
        clock: Clock,
        *,
        containers: bool = False,
    ) -> None:
        """`containers`: whether there are workers that run `container` nodes."""
        self._containers = containers
        self._store, self._kubernetes, self._announcer = store, kubernetes, announcer
        self._guard, self._clock = guard, clock
        self._known: dict[tuple[str, str], tuple[_Version, Compiled]] = {}
        self._on_change: list[Callable[[str, str], Awaitable[None]]] = []

    def on_change(self, listener: Callable[[str, str], Awaitable[None]]) -> None:
        """Called with (namespace, name) after a Workflow appeared or changed."""
        self._on_change.append(listener)

    async def handle(self, body: Mapping[str, Any]) -> None:
        """A Workflow was added or changed, or is looked at again. Never raises."""
        await self._guard.call(
            WORKFLOWS, uid(body), lambda: self._handle(body), lambda why: self._quarantine(body, why)
        )

    async def gone(self, body: Mapping[str, Any]) -> None:
        """A Workflow was deleted: what runs goes on with its pinned revision, new executions are refused."""
        key, (deleted, _) = _key(body), _version(body)
        known = self._known.get(key)
        if known is not None and known[0][0] == deleted:
            del self._known[key]

    def retain(self, keys: Collection[tuple[str, str]]) -> None:
        """These (namespace, name) are all that there are: forget others, whose deletion the watch missed."""
        for key in self._known.keys() - set(keys):
            del self._known[key]

    async def find(self, namespace: str, name: str) -> Compiled | None:
        """The Workflow now; one that the watch has not told us of yet is looked up. None: there is none."""
        known = self._known.get((namespace, name))
        if known is not None:
            return known[1]
        if not _NAME.fullmatch(name):
            return None  # no object can have it: the API server would refuse the question, and for ever
        try:
            body = await self._kubernetes.get(WORKFLOWS, namespace, name)
        except NotFound:
            return None
        return await self._compile(body)

    async def _handle(self, body: Mapping[str, Any]) -> None:
        before = self._known.get(_key(body))
        compiled = await self._compile(body)
        await self._say(body, compiled)
        if before is None or before[0] != _version(body):
            for listener in self._on_change:
                await listener(*_key(body))

    async def _compile(self, body: Mapping[str, Any]) -> Compiled:
        key, version = _key(body), _version(body)
        known = self._known.get(key)
        if known is not None and known[0] == version:
            return known[1]
        try:
            workflow = compile_workflow(mapping(body.get("spec")), namespace=key[0], name=key[1])
            check_available(workflow, containers=self._containers)
        except InvalidInput as error:
            compiled = Compiled(None, error.problems)
        else:
            await self._store.put_workflow(workflow)
            compiled = Compiled(workflow)
        if known is None or known[0][0] != version[0] or known[0][1] <= version[1]:  # never back to an older content
            self._known[key] = (version, compiled)
        return compiled

    async def _say(self, body: Mapping[str, Any], compiled: Compiled) -> None:
        before, generation, now = body.get("status"), _version(body)[1], self._clock.now()
        if compiled.workflow is not None:
            status = valid(compiled.workflow, before, generation, now)
        else:
            status = invalid(compiled.problems, "InvalidWorkflow", before, generation, now)
        await self._write(body, status)

    async def _write(self, body: Mapping[str, Any], status: dict[str, Any]) -> None:
        said = find(status, "Valid") or {}
        if same(find(body.get("status"), "Valid"), said):
            return
        namespace, name = _key(body)
        await self._kubernetes.patch_status(WORKFLOWS, namespace, name, status, uid=uid(body))
        if said["status"] == "True":
            _log.info("workflow accepted", workflow=f"{namespace}/{name}", revision=status["revision"])
        else:
            _log.warning("workflow refused", workflow=f"{namespace}/{name}", message=said["message"])
            await self._announcer.tell(WORKFLOWS, body["metadata"], said["reason"], said["message"], warning=True)

    async def _quarantine(self, body: Mapping[str, Any], why: str) -> None:
        problem = Problem("spec", f"the operator could not read this workflow ({why}): please report it")
        self._known[_key(body)] = (_version(body), Compiled(None, (problem,)))
        status = invalid([problem], "Quarantined", body.get("status"), _version(body)[1], self._clock.now())
        await self._write(body, status)


def _key(body: Mapping[str, Any]) -> tuple[str, str]:
    meta = mapping(body.get("metadata"))
    return str(meta.get("namespace", "")), str(meta.get("name", ""))


def _version(body: Mapping[str, Any]) -> _Version:
    return uid(body), int(mapping(body.get("metadata")).get("generation") or 0)
