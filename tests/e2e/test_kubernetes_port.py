"""One set of claims, held by the real API server and by the fake that unit tests stand on."""

from __future__ import annotations

import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from orchestrator_operator.adapters.flag import SecretFlagStore
from orchestrator_operator.adapters.following import follow
from orchestrator_operator.adapters.kubernetes import Conflict, Kubernetes, NotFound
from orchestrator_operator.handlers.announce import event
from orchestrator_operator.specs import EXECUTIONS, ROLLOUTS
from orchestrator_operator.specs.crds import DEFINITIONS, crd

from orchestrator.clock import SystemClock
from orchestrator.flag import CLEAR, FlagConflict, FlagValues
from orchestrator.testing import FakeClock
from tests.support.cluster import NAMESPACE, FakeKubernetes, document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.live import ControlPlane

pytestmark = pytest.mark.e2e

SPEC = {"workflow": "chain", "input": {"n": 1}}


@pytest_asyncio.fixture(params=["fake", "real"])
async def kubernetes(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A port with an empty namespace and a Secret `flags` without keys."""
    if request.param == "fake":
        fake = FakeKubernetes(FakeClock())
        fake.add_secret("flags")
        yield fake
        return
    plane: ControlPlane = request.getfixturevalue("control_plane")
    plane.ask("create", "namespace", NAMESPACE)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "flags", "namespace": NAMESPACE}}
    plane.ask("delete", "secret", "flags", "--namespace", NAMESPACE)
    plane.kubectl("create", "-f", "-", stdin=secret)
    plane.kubectl("delete", "executions", "--all", "--namespace", NAMESPACE)
    client = await Kubernetes.connect(str(plane.cluster.kubeconfig))
    yield client
    await client.aclose()


async def create(kubernetes: Any, name: str = "one") -> dict[str, Any]:
    found: dict[str, Any] = await kubernetes.create(EXECUTIONS, NAMESPACE, document(EXECUTIONS, name, SPEC))
    return found


async def test_created_it_has_a_uid_a_generation_and_no_status(kubernetes: Any) -> None:
    body = await create(kubernetes)
    assert body["metadata"]["uid"]
    assert body["metadata"]["generation"] == 1
    assert "status" not in body
    assert (await kubernetes.get(EXECUTIONS, NAMESPACE, "one"))["spec"] == SPEC


async def test_created_twice_is_a_conflict(kubernetes: Any) -> None:
    await create(kubernetes)
    with pytest.raises(Conflict):
        await create(kubernetes)


async def test_a_status_is_merged_and_null_removes(kubernetes: Any) -> None:
    await create(kubernetes)
    await kubernetes.patch_status(EXECUTIONS, NAMESPACE, "one", {"phase": "Pending", "message": "…", "handled": {}})
    body = await kubernetes.patch_status(
        EXECUTIONS, NAMESPACE, "one", {"phase": "Running", "message": None, "handled": {"resume": "1"}}
    )
    assert body["status"] == {"phase": "Running", "handled": {"resume": "1"}}
    assert (await kubernetes.get(EXECUTIONS, NAMESPACE, "one"))["metadata"]["generation"] == 1


async def story(kubernetes: Any, seen: list[Any]) -> None:
    """Follow an object, and change it and delete it as it is told."""
    phases = iter(("Running", "Success"))
    async with aclosing(follow(kubernetes, EXECUTIONS, NAMESPACE, "one")) as bodies:
        async for body in bodies:
            seen.append((body.get("status") or {}).get("phase"))
            if phase := next(phases, None):
                await kubernetes.patch_status(EXECUTIONS, NAMESPACE, "one", {"phase": phase})
            elif len(seen) == 3:
                await kubernetes.delete(EXECUTIONS, NAMESPACE, "one")


async def test_who_follows_an_object_is_told_each_change_and_its_end(kubernetes: Any) -> None:
    await create(kubernetes)
    seen: list[Any] = []
    with pytest.raises(NotFound, match="was deleted"):
        await story(kubernetes, seen)
    assert seen == [None, "Running", "Success", "Success"]


async def test_a_status_for_another_object_of_that_name_is_refused(kubernetes: Any) -> None:
    await create(kubernetes)
    with pytest.raises(Conflict):
        await kubernetes.patch_status(EXECUTIONS, NAMESPACE, "one", {"phase": "Running"}, uid=str(uuid.uuid4()))


async def test_a_status_for_an_older_version_is_refused(kubernetes: Any) -> None:
    old = (await create(kubernetes))["metadata"]["resourceVersion"]
    body = await kubernetes.patch_status(EXECUTIONS, NAMESPACE, "one", {"phase": "Pending"}, resource_version=old)
    assert body["metadata"]["resourceVersion"] != old
    with pytest.raises(Conflict):
        await kubernetes.patch_status(EXECUTIONS, NAMESPACE, "one", {"phase": "Running"}, resource_version=old)


async def test_a_change_of_the_spec_is_a_new_generation(kubernetes: Any) -> None:
    await create(kubernetes)
    body = await kubernetes.patch(EXECUTIONS, NAMESPACE, "one", {"spec": {"suspend": True}})
    assert (body["metadata"]["generation"], body["spec"]["suspend"]) == (2, True)


async def test_an_annotation_is_taken_off_only_if_it_says_what_was_read(kubernetes: Any) -> None:
    await create(kubernetes)
    await kubernetes.patch(EXECUTIONS, NAMESPACE, "one", {"metadata": {"annotations": {"a.dev/b": "1", "d": "2"}}})
    with pytest.raises(Conflict):
        await kubernetes.take_off(EXECUTIONS, NAMESPACE, "one", "a.dev/b", "0")
    await kubernetes.take_off(EXECUTIONS, NAMESPACE, "one", "a.dev/b", "1")
    assert (await kubernetes.get(EXECUTIONS, NAMESPACE, "one"))["metadata"]["annotations"] == {"d": "2"}
    with pytest.raises(Conflict):
        await kubernetes.take_off(EXECUTIONS, NAMESPACE, "one", "a.dev/b", "1")


async def test_all_of_a_kind_are_listed(kubernetes: Any) -> None:
    for name in ("one", "two", "three"):
        await create(kubernetes, name)
    names = {body["metadata"]["name"] for body in await kubernetes.list(EXECUTIONS, NAMESPACE)}
    assert names == {"one", "two", "three"}
    paged = {body["metadata"]["name"] async for page in kubernetes.pages(EXECUTIONS, NAMESPACE) for body in page}
    assert paged == names
    assert len(await kubernetes.list(EXECUTIONS, NAMESPACE, limit=2)) == 2
    assert await kubernetes.list(ROLLOUTS, NAMESPACE) == []


async def test_a_deletion_that_means_another_object_is_refused(kubernetes: Any) -> None:
    body = await create(kubernetes)
    with pytest.raises(Conflict):
        await kubernetes.delete(EXECUTIONS, NAMESPACE, "one", uid=str(uuid.uuid4()))
    await kubernetes.delete(EXECUTIONS, NAMESPACE, "one", uid=body["metadata"]["uid"])
    with pytest.raises(NotFound):
        await kubernetes.get(EXECUTIONS, NAMESPACE, "one")


@pytest.mark.parametrize("verb", ["get", "delete", "patch_status"])
async def test_what_is_not_there_is_not_found(kubernetes: Any, verb: str) -> None:
    arguments = [{"phase": "Running"}] if verb == "patch_status" else []
    with pytest.raises(NotFound):
        await getattr(kubernetes, verb)(EXECUTIONS, NAMESPACE, "nobody", *arguments)


async def test_an_event_may_be_told_twice(kubernetes: Any) -> None:
    body = await create(kubernetes)
    told = event(EXECUTIONS, body["metadata"], "Warning", "Why", "in words", SystemClock().now())
    await kubernetes.create_event(NAMESPACE, told)
    await kubernetes.create_event(NAMESPACE, told)


async def test_the_events_about_an_object_are_found_with_their_annotations(kubernetes: Any) -> None:
    one, other = await create(kubernetes), await create(kubernetes, "two")
    for body in (one, other):
        told = event(EXECUTIONS, body["metadata"], "Normal", "Why", "in words", SystemClock().now())
        told["metadata"]["annotations"] = {"orchestrator.dev/decision": body["metadata"]["name"]}
        await kubernetes.create_event(NAMESPACE, told)
    found = await kubernetes.events_about(NAMESPACE, one["metadata"]["uid"])
    assert [event["metadata"]["annotations"] for event in found] == [{"orchestrator.dev/decision": "one"}]


class TestFlag:
    async def test_it_is_written_read_and_cleared(self, kubernetes: Any) -> None:
        flags = SecretFlagStore(kubernetes, NAMESPACE, "flags")
        empty = await flags.read()
        assert (empty.values, empty.exists) == (CLEAR, True)
        written = await flags.write({"USE_ORCHESTRATOR_V2": "true", "USE_ORCHESTRATOR_V2_PERCENT": "5"}, empty.version)
        assert written.values == FlagValues("true", "5")
        cleared = await flags.write(CLEAR.as_mapping(), written.version)
        assert cleared.values == (await flags.read()).values == CLEAR
        assert len({empty.version, written.version, cleared.version}) == 3

    async def test_a_write_to_a_version_that_is_gone_changes_nothing(self, kubernetes: Any) -> None:
        flags = SecretFlagStore(kubernetes, NAMESPACE, "flags")
        before = await flags.read()
        after = await flags.write({"USE_ORCHESTRATOR_V2": "true"}, before.version)
        with pytest.raises(FlagConflict):
            await flags.write({"USE_ORCHESTRATOR_V2": "false"}, before.version)
        assert await flags.read() == after

    async def test_a_missing_secret_is_no_error_to_a_reader(self, kubernetes: Any) -> None:
        assert not (await SecretFlagStore(kubernetes, NAMESPACE, "nowhere").read()).exists


async def test_the_server_names_who_wrote_the_flag(control_plane: ControlPlane) -> None:
    control_plane.ask("create", "namespace", NAMESPACE)
    control_plane.ask("create", "secret", "generic", "managed", "--namespace", NAMESPACE)
    client = await Kubernetes.connect(str(control_plane.cluster.kubeconfig), agent="somebody")
    try:
        flags = SecretFlagStore(client, NAMESPACE, "managed")
        written = await flags.write({"USE_ORCHESTRATOR_V2": "true"}, "")
        assert written.managers == {"USE_ORCHESTRATOR_V2": "somebody"}
    finally:
        await client.aclose()


async def test_the_server_says_its_version(kubernetes: Any) -> None:
    assert (await kubernetes.version())["gitVersion"].startswith("v1.")


async def test_an_installed_definition_has_the_schema_that_it_was_made_with(kubernetes: Any) -> None:
    """Support bundles compare the two: a server that wrote defaults into it would look like another version."""
    for definition in DEFINITIONS:
        installed = await kubernetes.definition(definition.resource)
        assert installed["spec"]["versions"][0]["schema"] == crd(definition)["spec"]["versions"][0]["schema"]
