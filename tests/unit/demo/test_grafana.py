"""Grafana beside the demo, with a `docker` on PATH that does what the real one would be seen to do."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from orchestrator_operator.demo.grafana import IMAGE, IMAGE_VARIABLE, NAME, Grafana, GrafanaUnavailable
from orchestrator_operator.local import Silent

from tests.support import boards

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Writes down what it was asked; `run` serves the health check on the port that the container was given, until `rm`.
DOCKER = """#!{python}
import http.server, json, os, pathlib, re, signal, sys
home, words = pathlib.Path({home!r}), sys.argv[1:]
with (home / "asked").open("a") as asked:
    asked.write(json.dumps(words) + "\\n")
verb = " ".join(words[:2]) if words[0] == "image" else words[0]
fails = json.loads((home / "fails").read_text())
if verb in fails:
    sys.exit(fails[verb])
pid = home / "pid"
if verb == "rm":
    if not pid.exists():
        sys.exit("No such container")
    os.kill(int(pid.read_text()), signal.SIGKILL)
    pid.unlink()
if verb == "run":
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/api/health" else 404)
            self.end_headers()
        def log_message(self, *_):
            pass
    port = int(re.search(r"GF_SERVER_HTTP_PORT=(\\d+)", " ".join(words))[1])
    server = http.server.HTTPServer(("127.0.0.1", port), Health)
    if child := os.fork():
        pid.write_text(str(child))
        sys.exit(0)
    os.setsid()
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    server.serve_forever()
"""


class Docker:
    """The stand-in, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "docker").write_text(DOCKER.format(python=sys.executable, home=str(folder)))
        (folder / "docker").chmod(0o755)
        self.fail()

    def fail(self, **verbs: str) -> None:
        """These verbs fail, saying so."""
        (self.folder / "fails").write_text(json.dumps({verb.replace("_", " "): said for verb, said in verbs.items()}))

    @property
    def asked(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "asked").read_text().splitlines()]

    def end(self) -> None:
        if (pid := self.folder / "pid").exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Docker]:
    folder = tmp_path / "bin"
    folder.mkdir()
    docker = Docker(folder)
    yield docker
    docker.end()


def grafana(tmp_path: Path, **environ: str) -> Grafana:
    known = {"PATH": f"{tmp_path / 'bin'}"} | environ
    return Grafana(tmp_path / "grafana", boards.GENERATED, Silent(), known)


def refused(made: Grafana) -> str:
    with pytest.raises(GrafanaUnavailable) as caught:
        made.require()
    assert "`make demo` without GRAFANA=1 needs no Docker" in str(caught.value)
    return str(caught.value)


def test_without_docker_it_says_so(tmp_path: Path) -> None:
    assert "no `docker` on PATH" in refused(grafana(tmp_path, PATH=str(tmp_path)))


def test_a_daemon_that_does_not_answer_is_told_in_its_own_words(tmp_path: Path, docker: Docker) -> None:
    docker.fail(info="Cannot connect to the Docker daemon. Is the docker daemon running?")
    assert "Is the docker daemon running. " in refused(grafana(tmp_path))


def test_an_image_that_cannot_be_pulled_names_the_variable_for_another_one(tmp_path: Path, docker: Docker) -> None:
    docker.fail(image_inspect="No such image", pull="dial tcp: lookup docker.io: no such host")
    said = refused(grafana(tmp_path))
    assert "no such host" in said
    assert IMAGE_VARIABLE in said


def test_an_image_that_is_there_is_not_pulled(tmp_path: Path, docker: Docker) -> None:
    grafana(tmp_path).require()
    assert [words[0] for words in docker.asked] == ["info", "image"]


def test_the_image_can_be_chosen(tmp_path: Path, docker: Docker) -> None:
    docker.fail(image_inspect="No such image")
    grafana(tmp_path, **{IMAGE_VARIABLE: "mirror/grafana:1"}).require()
    assert docker.asked[-1] == ["pull", "--quiet", "mirror/grafana:1"]
    assert IMAGE != "mirror/grafana:1"


class TestStarted:
    @pytest.fixture
    def address(self, tmp_path: Path, docker: Docker) -> str:
        return grafana(tmp_path).start("http://127.0.0.1:9090")

    def test_it_answers_where_it_says(self, address: str) -> None:
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/d/([\w-]+)\?.*", address)
        assert found
        assert httpx.get(f"{found[1]}/api/health", trust_env=False).is_success
        assert found[2] in boards.documents()

    def test_it_listens_on_this_machine_alone(self, address: str, docker: Docker) -> None:
        assert "GF_SERVER_HTTP_ADDR=127.0.0.1" in docker.asked[-1]

    def test_its_source_is_the_demos_prometheus(self, address: str, tmp_path: Path) -> None:
        (source,) = read(tmp_path, "datasources")["datasources"]
        assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://127.0.0.1:9090", True)

    def test_the_dashboards_are_those_that_were_committed(self, address: str, tmp_path: Path, docker: Docker) -> None:
        (provider,) = read(tmp_path, "dashboards")["providers"]
        assert f"{boards.GENERATED}:{provider['options']['path']}:ro" in docker.asked[-1]

    def test_stopping_removes_it_and_its_files(self, address: str, tmp_path: Path, docker: Docker) -> None:
        assert grafana(tmp_path).stop()
        assert docker.asked[-1] == ["rm", "--force", NAME]
        assert not (tmp_path / "grafana").exists()
        assert not grafana(tmp_path).stop()


def test_a_container_that_does_not_start_is_told_in_dockers_words(tmp_path: Path, docker: Docker) -> None:
    docker.fail(run="port is already allocated")
    with pytest.raises(GrafanaUnavailable, match="port is already allocated"):
        grafana(tmp_path).start("http://127.0.0.1:9090")


def test_where_none_was_started_docker_is_not_asked(tmp_path: Path, docker: Docker) -> None:
    assert not grafana(tmp_path).stop()
    assert not (docker.folder / "asked").exists()


def read(tmp_path: Path, name: str) -> Any:
    return yaml.safe_load((tmp_path / "grafana" / name / "orchestrator.yaml").read_text(encoding="utf-8"))
