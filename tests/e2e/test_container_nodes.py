"""`container` nodes as Jobs: a real API server and a real Job controller, our worker with its own account's rights.

The kubelet is a fake (tests/support/fake_kubelet.py); tests/kind has a real one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.jobs.manifest import EXECUTION

from tests.support.fake_kubelet import FakeKubelet, Program
from tests.support.polling import eventually
from tests.support.rights import rights
from tests.support.site import execution, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.live import ControlPlane
    from tests.support.site import Site

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
NAMESPACE = "boxes"
WORKER = "orchestrator-worker"
FOR_EVER = Program(code=None)
AGAIN = {"maxAttempts": 2, "initialInterval": "100ms", "jitter": "none"}


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[Site]:
    account = control_plane.cluster.service_account_kubeconfig(NAMESPACE, WORKER)
    settings = {
        "KUBECONFIG": str(account),
        "ORCHESTRATOR_CONTAINERS": "kubernetes",
        "ORCHESTRATOR_CONTAINER_GRACE": "1s",
        "ORCHESTRATOR_CONTAINER_IMAGES": "shop/",
        "ORCHESTRATOR_CONTAINER_SECRETS": f"{NAMESPACE}/api",
    }
    on = {"ORCHESTRATOR_CONTAINERS": "kubernetes"}
    with control_plane.site(NAMESPACE, operator=on, worker=settings) as opened:
        control_plane.kubectl("apply", "-k", str(_with_containers(opened.folder / "containers")))
        opened.start("operator", "worker")
        yield opened


@pytest.fixture(scope="module")
def kubelet(control_plane: ControlPlane, site: Site) -> Iterator[FakeKubelet]:
    pair = control_plane.cluster.folder / "pki"
    made = FakeKubelet(control_plane.kubernetes, NAMESPACE, pair / "apiserver.crt", pair / "apiserver.key")
    control_plane.background.run(made.__aenter__())
    yield made
    control_plane.background.run(made.__aexit__(None, None, None))


def _with_containers(folder: Path) -> Path:
    folder.mkdir()
    deploy = os.path.relpath((ROOT / "deploy").resolve(), folder.resolve())
    content = {"namespace": NAMESPACE, "resources": [f"{deploy}/base"], "components": [f"{deploy}/containers"]}
    (folder / "kustomization.yaml").write_text(json.dumps(content))
    return folder


def begin(site: Site, name: str, retry: dict[str, Any] | None = None, **with_: Any) -> str:
    """An execution of one container of an image named after it; its uid."""
    box = {"id": "box", "type": "container", "with": {"image": f"shop/{name}:1", **with_}, "timeout": "10m"}
    site.apply(workflow(name, {**box, "retry": retry or {"maxAttempts": 1}}, output="${nodes.box.output}"))
    site.create(execution(name, name, engine="v2"))
    return str(site.get("Execution", name)["metadata"]["uid"])


def jobs(site: Site, uid: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        site.kubectl("get", "jobs", f"--selector={EXECUTION}={uid}", "-o", "json")
    )["items"]
    return found


def until_runs(kubelet: FakeKubelet, name: str) -> None:
    eventually(lambda: any(image == f"shop/{name}:1" for image, _ in kubelet.ran), f"a container of {name}")


def why(site: Site, name: str) -> str:
    return str(site.until_phase(name, "Failed")["message"])


def test_what_a_container_leaves_is_its_nodes_output(site: Site, kubelet: FakeKubelet) -> None:
    kubelet.programs["shop/leaves:1"] = Program(message='{"rows": 7}', log="one\ntwo\nthree\n")
    uid = begin(site, "leaves", logLines=2)
    status = site.until_phase("leaves", "Success")
    (job,) = jobs(site, uid)
    name = job["metadata"]["name"]
    assert status["output"] == {"exitCode": 0, "result": {"rows": 7}, "log": "two\nthree\n", "job": name}


def test_the_last_line_of_its_log_can_be_its_result(site: Site, kubelet: FakeKubelet) -> None:
    kubelet.programs["shop/says:1"] = Program(log='working\n{"rows": 8}\n')
    begin(site, "says", result={"from": "lastLine"}, logLines=0)
    assert site.until_phase("says", "Success")["output"]["result"] == {"rows": 8}


def test_a_failure_tells_the_exit_code_and_what_the_program_said_last(site: Site, kubelet: FakeKubelet) -> None:
    kubelet.programs["shop/fails:1"] = Program(code=3, log="begun\nno such order\n")
    uid = begin(site, "fails", AGAIN)
    message = why(site, "fails")
    assert "exit code 3; it said last: no such order" in message
    assert len(jobs(site, uid)) == 2  # each attempt has its own


def typed(site: Site, *arguments: str) -> subprocess.Popen[str]:
    """The program as a person types it, with a kubeconfig and the operator's database."""
    where = {"KUBECONFIG": str(site.plane.cluster.kubeconfig), "ORCHESTRATOR_DATABASE": site.database}
    command = [sys.executable, "-m", "orchestrator.cli.main", *arguments, "--namespace", NAMESPACE]
    return subprocess.Popen(command, env={**os.environ, **where}, stdout=subprocess.PIPE, text=True)


def test_logs_tell_what_it_printed_among_what_happened(site: Site, kubelet: FakeKubelet) -> None:
    kubelet.programs["shop/prints:1"] = Program(log="packing\npacked\n")
    begin(site, "prints")
    site.until_phase("prints", "Success")
    with typed(site, "logs", "prints", "--output", "json") as process:
        out, _ = process.communicate(timeout=60)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["text"] for line in lines if line["source"] == "box#1"] == ["packing", "packed"]
    assert [line["text"].split()[0] for line in lines if line["source"] == "execution"] == [
        *("created:", "started", "Success"),
    ]
    engine = [line["text"].split()[0] for line in lines if line["source"] == "engine"]
    assert (engine[0], engine[-1]) == ("ExecutionSubmitted", "ExecutionSucceeded")


def test_logs_follow_it_to_its_end(site: Site, kubelet: FakeKubelet) -> None:
    kubelet.programs["shop/followed:1"] = Program(code=None, log="begun\n")
    begin(site, "followed")
    with typed(site, "logs", "followed", "--follow") as process:
        assert process.stdout is not None
        begun = next(line for line in process.stdout if "begun" in line)
        kubelet.finish("shop/followed:1")
        rest = process.stdout.read().splitlines()
        assert process.wait(timeout=60) == 0
    assert begun.split()[1:] == ["box#1", "begun"]
    assert not any("begun" in line for line in rest)
    assert rest[-1].split()[1:3] == ["execution", "Success"]


def test_an_image_that_cannot_be_pulled_is_a_failure_after_its_grace(site: Site, kubelet: FakeKubelet) -> None:
    kubelet.programs["shop/missing:1"] = Program(waiting=("ImagePullBackOff", "manifest unknown"))
    uid = begin(site, "missing")
    assert "ImagePullBackOff: manifest unknown" in why(site, "missing")
    assert jobs(site, uid) == []


def test_an_eviction_is_told_and_retried(site: Site, kubelet: FakeKubelet) -> None:
    kubelet.programs["shop/evicted:1"] = Program(code=143, evicted="the node is drained")
    begin(site, "evicted")
    assert "its Pod was taken away: the node is drained" in why(site, "evicted")


def test_a_cancel_removes_the_job_and_its_pod_before_the_execution_ends(site: Site, kubelet: FakeKubelet) -> None:
    kubelet.programs["shop/unwanted:1"] = FOR_EVER
    uid = begin(site, "unwanted")
    until_runs(kubelet, "unwanted")
    site.kubectl("patch", "oex", "unwanted", "--type=merge", "-p", '{"spec": {"cancel": true}}')
    site.until_phase("unwanted", "Cancelled")
    assert jobs(site, uid) == []
    assert site.kubectl("get", "pods", f"--selector={EXECUTION}={uid}", "-o", "name") == ""


def test_what_a_deleted_execution_left_is_collected_with_it(site: Site, kubelet: FakeKubelet) -> None:
    kubelet.programs["shop/deleted:1"] = Program()
    uid = begin(site, "deleted")
    site.until_phase("deleted", "Success")
    (job,) = jobs(site, uid)
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Execution", uid)
    site.kubectl("delete", "oex", "deleted")
    eventually(lambda: not jobs(site, uid), "the Job is collected with its owner")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_the_next_worker_adopts_the_job(site: Site, kubelet: FakeKubelet, how: str) -> None:
    name = f"adopted-{how}"
    kubelet.programs[f"shop/{name}:1"] = FOR_EVER
    uid = begin(site, name)
    until_runs(kubelet, name)
    getattr(site, how)("worker")
    site.start("worker")
    kubelet.finish(f"shop/{name}:1")
    site.until_phase(name, "Success")
    assert len(jobs(site, uid)) == 1
    assert [image for image, _ in kubelet.ran].count(f"shop/{name}:1") == 1


def test_a_job_that_somebody_deletes_is_a_failure_with_that_word_and_is_retried(
    site: Site, kubelet: FakeKubelet
) -> None:
    kubelet.programs["shop/taken:1"] = FOR_EVER
    uid = begin(site, "taken", AGAIN)
    until_runs(kubelet, "taken")
    site.kubectl("delete", "job", jobs(site, uid)[0]["metadata"]["name"])
    eventually(lambda: [image for image, _ in kubelet.ran].count("shop/taken:1") == 2, "a second attempt")
    kubelet.finish("shop/taken:1")
    assert site.until_phase("taken", "Success")["retries"] == 1
    failures = site.query("SELECT data FROM workflow_events WHERE type = 'StepFailed'")
    assert any("JobDeleted" in str(row["data"]) for row in failures)


def test_a_secret_that_the_settings_do_not_list_is_never_handed_on(site: Site, kubelet: FakeKubelet) -> None:
    uid = begin(site, "curious", env={"PIN": {"secret": "bank", "key": "pin"}})
    assert f"the Secret {NAMESPACE}/bank is not allowed here" in why(site, "curious")
    assert jobs(site, uid) == []


def test_who_was_given_a_secret_leaves_no_log(site: Site, kubelet: FakeKubelet) -> None:
    kubelet.programs["shop/trusted:1"] = Program(code=1, log="my token is canary-4711\n")
    uid = begin(site, "trusted", env={"TOKEN": {"secret": "api", "key": "token"}})
    assert "exit code 1" in why(site, "trusted")
    said = json.dumps([site.get("Execution", "trusted"), site.query("SELECT data FROM workflow_events")], default=str)
    assert "canary-4711" not in said
    assert len(jobs(site, uid)) == 1


def test_an_image_that_the_settings_do_not_list_is_refused(site: Site, kubelet: FakeKubelet) -> None:
    uid = begin(site, "foreign", image="elsewhere/foreign:1")
    assert "ORCHESTRATOR_CONTAINER_IMAGES" in why(site, "foreign")
    assert jobs(site, uid) == []


def test_an_api_server_that_is_away_is_waited_for(
    control_plane: ControlPlane, site: Site, kubelet: FakeKubelet
) -> None:
    kubelet.programs["shop/patient:1"] = FOR_EVER
    uid = begin(site, "patient")
    until_runs(kubelet, "patient")
    control_plane.cluster.stop("kube-apiserver", grace=0)
    control_plane.cluster.start("kube-apiserver")
    kubelet.finish("shop/patient:1")
    status = site.until_phase("patient", "Success")
    assert status.get("retries", 0) == 0
    assert len(jobs(site, uid)) == 1


def test_the_list_of_what_the_worker_may_is_exactly_what_jobs_need(site: Site) -> None:
    account = site.plane.cluster.service_account_kubeconfig(NAMESPACE, WORKER)
    assert rights(site.plane, NAMESPACE, account) == {
        ("jobs.batch", "", "create delete get list watch"),
        ("pods", "", "list watch"),
        ("pods/log", "", "get"),
        ("executions.orchestrator.dev", "", "get"),
    }
