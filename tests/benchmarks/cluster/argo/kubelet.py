"""A node in Argo's favour: every Pod of a workflow has succeeded as soon as it is seen, its results reported.

python -m tests.benchmarks.cluster.argo.kubelet KUBECONFIG NAMESPACE

Serves until its standard input is closed. It writes what a kubelet and Argo's executor in the Pod write, one after the
other: a WorkflowTaskResult that says that all outputs are there, then the Pod's status.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.benchmarks.cluster.client import asked, events, session

if TYPE_CHECKING:
    import aiohttp

_GROUP = "workflows.argoproj.io"
_RESULTS = "/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflowtaskresults"
_MERGE = {"Content-Type": "application/merge-patch+json"}


def result(pod: dict[str, Any]) -> dict[str, Any]:
    """What the executor reports of a Pod: nothing came out of it, and that is all."""
    meta = pod["metadata"]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTaskResult",
        "metadata": {
            "name": meta["annotations"][f"{_GROUP}/node-id"],
            "labels": {
                f"{_GROUP}/workflow": meta["labels"][f"{_GROUP}/workflow"],
                f"{_GROUP}/report-outputs-completed": "true",
            },
        },
    }


def succeeded(pod: dict[str, Any]) -> dict[str, Any]:
    """The status of a Pod all of whose containers ended well, at once."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    over = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}
    containers = [
        {"name": one["name"], "image": one["image"], "imageID": "", "ready": False, "restartCount": 0, "state": over}
        for one in pod["spec"]["containers"]
    ]
    return {"phase": "Succeeded", "startTime": now, "containerStatuses": containers}


async def _finish(api: aiohttp.ClientSession, namespace: str, pod: dict[str, Any]) -> None:
    await asked(api.post(_RESULTS.format(namespace=namespace), data=json.dumps(result(pod))))
    path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/status"
    await asked(api.patch(path, data=json.dumps({"status": succeeded(pod)}), headers=_MERGE))


async def _serve(kubeconfig: str, namespace: str) -> None:
    path, seen = f"/api/v1/namespaces/{namespace}/pods", set[str]()
    async with session(kubeconfig) as api, asyncio.TaskGroup() as tasks:
        parent = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        parent.add_done_callback(lambda _: sys.exit(0))  # our parent is gone, and so is what we serve
        async for event in events(api, path, {"labelSelector": f"{_GROUP}/workflow"}):
            pod = event["object"]
            waits = pod["status"].get("phase") == "Pending"  # the first that a watch tells are those of an earlier node
            if event["type"] == "ADDED" and waits and pod["metadata"]["uid"] not in seen:
                seen.add(pod["metadata"]["uid"])
                tasks.create_task(_finish(api, namespace, pod))


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
