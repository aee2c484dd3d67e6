"""Choose ports that nobody listens on."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import asdict, fields

from orchestrator_operator.local.commands import LOOPBACK, Ports


def choose(before: Ports | None = None) -> Ports:
    """The same ports as before if they are free (clients keep their addresses), else free ones.

    Nothing can hold them until the programs listen, so a part that finds its port taken has to be given another.
    """
    if before is not None and all(_free(port) for port in asdict(before).values()):
        return before
    names = [field.name for field in fields(Ports)]
    with ExitStack() as held:  # all held at once, so that no port is chosen twice
        sockets = [held.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return Ports(**{name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)})


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the programs do: TIME_WAIT is free
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
