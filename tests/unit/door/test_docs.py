"""docs/http-door.md keeps its word: its tour runs as written, and it names every setting, status and field."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from orchestrator_operator import settings

from orchestrator.door import openapi
from orchestrator.door.problems import PATH
from orchestrator.door.request import ExecuteRequest
from tests.support.pages import ROOT, blocks, typed_by
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (ROOT / "docs" / "http-door.md").read_text(encoding="utf-8")
TRACING = (ROOT / "docs" / "tracing.md").read_text(encoding="utf-8")
TOUR = typed_by(__name__, blocks(ROOT / "docs" / "http-door.md"))
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CURL = """
import sys, urllib.error, urllib.request
words, headers, data, url = sys.argv[1:], {}, None, ""
while words:
    word = words.pop(0)
    if word == "-H": headers.update([words.pop(0).split(": ", 1)])
    elif word == "-d": data = words.pop(0).encode()
    elif word != "-s": url = word
try: answer = urllib.request.urlopen(urllib.request.Request(url, data, headers))
except urllib.error.HTTPError as error: answer = error
sys.stdout.write(answer.read().decode())
"""


def programs(folder: Path) -> Path:
    """What a reader has on PATH; where `curl` or `openssl` is missing, what the tour needs of them."""
    folder.mkdir()
    scripts = {"orchestrator": f'exec "{sys.executable}" -m orchestrator.cli.main "$@"'}
    if shutil.which("curl") is None:
        (folder / "curl.py").write_text(CURL, encoding="utf-8")
        scripts["curl"] = f'exec "{sys.executable}" "{folder}/curl.py" "$@"'
    if shutil.which("openssl") is None:
        scripts["openssl"] = f'exec "{sys.executable}" -c "import secrets; print(secrets.token_hex(32))"'
    for name, command in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def test_the_tour_runs_as_it_is_written(tmp_path: Path) -> None:
    port = free_port()
    commands = [block.text.replace("8080", str(port)) for block, _ in TOUR]
    # A reader reads on until the door is open.
    opened = f"until curl -s http://127.0.0.1:{port}/healthz > /dev/null; do kill -0 $!; sleep 0.1; done"
    script = "\n".join(["set -euo pipefail", commands[0], opened, *commands[1:]])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "USE_ORCH"))}
    path = f"{programs(tmp_path / 'bin')}:{os.environ['PATH']}"
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=kept | {"PATH": path, "PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "stderr").open("wb"),
        start_new_session=True,
        text=True,
    ) as shell:
        try:
            shell.wait(timeout=120)
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
        assert shell.stdout is not None
        out = shell.stdout.read()
    assert shell.returncode == 0, (tmp_path / "stderr").read_text(encoding="utf-8")
    printed = ID.sub("ID", out).splitlines()
    wanted = [line for _, below in TOUR for line in below.splitlines()]
    assert len(wanted) == 4
    assert [line[: len(want)] for line, want in zip(printed, wanted, strict=True)] == wanted


@pytest.mark.parametrize("name", [name for name in settings.fields() if name.startswith("door_")])
def test_every_setting_is_named(name: str) -> None:
    assert f"`{settings.variable(name)}`" in TEXT


def test_every_status_is_named() -> None:
    paths = openapi.build()["paths"]
    known = {code for path in paths.values() for operation in path.values() for code in operation["responses"]}
    assert {code for code in known - {"500"} if not re.search(rf"\b{code}\b", TEXT)} == set()


def test_every_field_is_named() -> None:
    names = {field.alias or name for name, field in ExecuteRequest.model_fields.items()}
    assert {name for name in names if f"`{name}`" not in TEXT} == set()
    assert PATH in TEXT


def test_every_attribute_of_a_span_is_named() -> None:
    source = (ROOT / "orchestrator" / "tracing" / "spans.py").read_text(encoding="utf-8")
    attributes = set(re.findall(r'"(orchestrator\.[a-z.]+|error\.type)"', source))
    assert "orchestrator.execution.id" in attributes
    assert {name for name in attributes if f"`{name}`" not in TRACING} == set()
