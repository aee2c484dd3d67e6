from __future__ import annotations

import pytest
from orchestrator_operator.local import catalogue
from orchestrator_operator.local.errors import ToolUnavailable
from orchestrator_operator.local.places import go_modules
from orchestrator_operator.local.toolchain import go_directive


def test_versions_are_those_that_the_go_modules_pin() -> None:
    pins = (go_modules() / "kubernetes" / "go.mod").read_text()
    versions = {tool.name: tool.version for tool in catalogue.load()}
    assert f"k8s.io/kubernetes v{versions['kube-apiserver']}\n" in pins
    assert f"go.etcd.io/etcd/server/v3 v{versions['etcd']} " in pins


def test_the_control_plane_does_not_need_what_breaks_connections() -> None:
    assert catalogue.toxiproxy().name not in {tool.name for tool in catalogue.load()}


def test_every_tool_s_package_is_a_tool_of_its_module() -> None:
    for tool in (*catalogue.load(), catalogue.toxiproxy()):
        assert f"\t{tool.package}\n" in (tool.module / "go.mod").read_text().partition("tool (")[2]


def test_the_toolchain_of_the_lock_file_is_new_enough_for_every_module() -> None:
    toolchain = catalogue.parse_version((go_modules() / "toolchain.txt").read_text())
    for tool in (*catalogue.load(), catalogue.toxiproxy()):
        assert toolchain >= go_directive((tool.module / "go.mod").read_text())


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Kubernetes v1.36.3", (1, 36, 3)),
        ("etcd Version: 3.6.8\nGit SHA: 1.2.3", (3, 6, 8)),
        ("Client Version: v1.32.4-dispatcher", (1, 32, 4)),
        ("prometheus, version 3.15.0 (branch: HEAD)", (3, 15, 0)),
    ],
)
def test_versions_are_found_in_what_the_tools_say(text: str, version: tuple[int, int, int]) -> None:
    assert catalogue.parse_version(text) == version


def test_prometheus_module_numbers_become_release_numbers() -> None:
    assert catalogue.prometheus_release("0.305.2") == "3.5.2"
    assert catalogue.prometheus_release("0.315.0") == "3.15.0"


def test_an_unknown_processor_is_named() -> None:
    with pytest.raises(ToolUnavailable, match="riscv64"):
        catalogue.architecture("riscv64")
