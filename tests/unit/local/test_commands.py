from __future__ import annotations

import socket
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from orchestrator_operator.local import commands, ports
from orchestrator_operator.local.commands import Layout, Ports

LAYOUT, PORTS = Layout(Path("/state")), Ports(1, 2, 3, 4, 5)
ALL = {
    "etcd": commands.etcd("/bin/etcd", LAYOUT, PORTS, fsync=True),
    "apiserver": commands.apiserver("/bin/apiserver", LAYOUT, PORTS),
    "controller-manager": commands.controller_manager("/bin/kcm", LAYOUT, PORTS),
    "prometheus": commands.prometheus("/bin/prometheus", LAYOUT, PORTS),
}


@pytest.mark.parametrize("name", ALL)
def test_nothing_listens_beyond_this_machine(name: str) -> None:
    flags = dict(flag[2:].partition("=")[::2] for flag in ALL[name][1:])
    listening = [value for key, value in flags.items() if "listen" in key or key == "bind-address"]
    assert listening
    for value in listening:
        assert (urlsplit(value).hostname or value.partition(":")[0]) == "127.0.0.1"


def test_the_api_server_asks_rbac_and_nothing_else() -> None:
    assert "--authorization-mode=RBAC" in ALL["apiserver"]


def test_etcd_demands_a_client_certificate_of_its_own_authority() -> None:
    assert {"--client-cert-auth=true", "--trusted-ca-file=/state/pki/etcd-ca.crt"} <= set(ALL["etcd"])


def test_durability_is_given_up_only_when_asked() -> None:
    assert "--unsafe-no-fsync" not in ALL["etcd"]
    assert "--unsafe-no-fsync" in commands.etcd("/bin/etcd", LAYOUT, PORTS, fsync=False)


def test_ports_stay_while_they_are_free() -> None:
    first = ports.choose()
    assert len(set(asdict(first).values())) == len(asdict(first))
    assert ports.choose(first) == first


def test_ports_change_when_one_is_taken() -> None:
    first = ports.choose()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first.apiserver))
        taken.listen()
        assert first.apiserver not in asdict(ports.choose(first)).values()
