"""The program `orchestrator`, loaded once and forked for every command that a page types.

An interpreter that starts and imports everything takes a second of processor time; pages have a hundred commands. Each
command is a process of its own all the same: the whole program's `main`, with the environment, folder, arguments and
streams of whoever typed it. It ends when the one who typed it is gone.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
_SIZE = 8  # bytes that say how long a request is
_PACKAGES = ("orchestrator/cli", "operator/orchestrator_operator/cli")
_OTHERS = ("orchestrator_operator.adapters.kubernetes", "orchestrator_operator.adapters.flag", "orchestrator.worker")

#: What a reader's shell runs: without site-packages, so it starts in a few milliseconds.
_CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({path!r})
    typed = json.dumps({{"arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd()}}).encode()
    socket.send_fds(connection, [len(typed).to_bytes({size}, "big")], [0, 1, 2])
    connection.sendall(typed)
    sys.exit(connection.recv(1)[0])
"""


@contextmanager
def loaded(folder: Path) -> Iterator[Path]:
    """The program, ready to be forked until the block ends: the path of a script that runs it."""
    address, client = folder / "socket", folder / "client.py"
    client.write_text(_CLIENT.format(path=str(address), size=_SIZE), encoding="utf-8")
    script = folder / "orchestrator"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{client}" "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    command = [sys.executable, "-m", "tests.support.forking", str(address)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n", "the program could not be loaded: see standard error"
            yield script
        finally:
            server.kill()


def serve(address: str) -> None:
    """Fork the program for each connection until killed. One thread, so that a fork copies all there is."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    load()
    print("ready", flush=True)  # noqa: T201 - whoever started this process waits for that line
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    running: dict[int, tuple[int, socket.socket]] = {}  # by the file descriptor of a process: its id, who typed it
    while True:
        for key, _ in waiting.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                pid = fork(connection, listener)
                descriptor = os.pidfd_open(pid)
                running[descriptor] = (pid, connection)
                waiting.register(descriptor, selectors.EVENT_READ)
                waiting.register(connection, selectors.EVENT_READ, pid)
            elif key.fd in running:
                pid, connection = running.pop(key.fd)
                end(waiting, key.fd, pid, connection)
            else:  # whoever typed it is gone
                waiting.unregister(key.fileobj)
                os.kill(key.data, signal.SIGKILL)


def load() -> None:
    """Import what commands import, so that they need not."""
    for folder in _PACKAGES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder.split("/")[0]).with_suffix("").parts
            package = parts if folder.startswith("operator") else ("orchestrator", *parts)
            importlib.import_module(".".join(package).removesuffix(".__init__"))
    for name in _OTHERS:
        importlib.import_module(name)


def fork(connection: socket.socket, listener: socket.socket) -> int:
    """Read what was typed, and start a process that does it; its id."""
    size, streams, _, _ = socket.recv_fds(connection, _SIZE, 3)
    length, typed = int.from_bytes(size, "big"), b""
    while len(typed) < length:
        typed += connection.recv(length - len(typed))
    pid = os.fork()
    if pid == 0:
        listener.close()
        connection.close()
        run(json.loads(typed), streams)
    for stream in streams:
        os.close(stream)
    return pid


def run(typed: dict[str, Any], streams: list[int]) -> None:
    """Be the program: the process ends in here."""
    code: Any = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(typed["folder"])
        os.environ.clear()
        os.environ.update(typed["environment"])
        sys.argv = ["orchestrator", *typed["arguments"]]
        sys.modules["__main__"].__package__ = ""  # a help names the program, and not this module
        from orchestrator.cli.main import main

        main()
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - as an interpreter does with what nobody caught
        sys.excepthook(*sys.exc_info())
    with suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def end(waiting: selectors.BaseSelector, descriptor: int, pid: int, connection: socket.socket) -> None:
    """Tell the one who typed it how it ended."""
    _, status = os.waitpid(pid, 0)
    waiting.unregister(descriptor)
    os.close(descriptor)
    with suppress(KeyError):
        waiting.unregister(connection)
    with suppress(OSError):
        connection.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
    connection.close()


if __name__ == "__main__":
    serve(sys.argv[1])
