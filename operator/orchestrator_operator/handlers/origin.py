"""What `spec.from` of an Execution names: looked up in the cluster, then in the store."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInput, UnknownExecution
from orchestrator.steering import look_up
from orchestrator_operator.adapters.kubernetes import NotFound
from orchestrator_operator.handlers.forking import Origin
from orchestrator_operator.handlers.seen import mapping, uid
from orchestrator_operator.specs import EXECUTIONS

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.store.port import Store
    from orchestrator_operator.adapters.kubernetes import Kubernetes
    from orchestrator_operator.handlers.decide import Seen


async def find_origin(store: Store, kubernetes: Kubernetes, seen: Seen, now: datetime) -> Origin | None:
    """The execution that a fork begins with, by the name of its resource, or by its uid when that is gone.

    One of another namespace is as good as unknown: nobody learns of it, nor reads its outputs through a fork.
    """
    name = mapping(mapping(seen.spec).get("from")).get("execution")
    if not isinstance(name, str) or not name:
        return None
    execution_id = name
    with suppress(NotFound):
        execution_id = uid(await kubernetes.get(EXECUTIONS, seen.namespace, name))
    nothing = Origin(now, None, f"there is no execution {name!r} in this namespace that the store knows")
    try:
        known = await look_up(store, execution_id)
    except UnknownExecution:
        return nothing
    except InvalidInput as error:
        return Origin(now, None, str(error))
    return Origin(now, known) if known.record.workflow_id.partition("/")[0] == seen.namespace else nothing
