"""Every environment variable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator import flag
from orchestrator import settings as engine
from orchestrator.engines.v1_http.settings import PREFIX as V1_PREFIX
from orchestrator_operator import settings as operator
from orchestrator_operator.demo.grafana import IMAGE, IMAGE_VARIABLE
from orchestrator_operator.jobs import settings as jobs
from orchestrator_operator.reference.markdown import code, page, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.settings import Described

_INTRODUCTION: Final = """\
Environment variables; an option of a command that says the same comes first. A variable that is not set, or empty, has
its default. Durations are a number and a unit: `250ms`, `30s`, `10m`, `2h`, `7d`. A value that cannot be understood
ends the process at its start, with a message that names the variable."""
_OTHERS: Final = (
    ("KUBECONFIG", "", "The cluster that commands and the operator talk to, as kubectl has it."),
    ("ORCHESTRATOR_CACHE", "~/.cache/orchestrator", "Where the local control plane keeps its binaries and its data."),
    ("KUBEBUILDER_ASSETS", "", "A folder with etcd, kube-apiserver and kubectl, in place of those in the cache."),
    ("ORCHESTRATOR_PROMETHEUS_ASSETS", "", "A folder with prometheus and promtool, likewise."),
    ("ORCHESTRATOR_TOXIPROXY_ASSETS", "", "A folder with toxiproxy-server, likewise; tests alone use it."),
    (IMAGE_VARIABLE, IMAGE, "What `orchestrator demo --grafana` runs, such as a mirror's copy."),
)
_FLAG: Final = (
    (flag.ENABLED, "absent", "`true`: new executions may go to V2. Anything else: all of them go to V1."),
    (
        flag.PERCENT,
        "absent",
        "V2's share, 0 to 100, two decimal places at most; absent: 100, while no rollout owns it.",
    ),
    (flag.EXPIRES, "absent", "A moment, RFC 3339 in UTC, from which on all go to V1."),
)


def render() -> str:
    """The page."""
    workers = engine.described()
    shared = [one for one in workers if not one.variable.startswith(V1_PREFIX)]
    behind_http = [one for one in workers if one.variable.startswith(V1_PREFIX)]
    return page(
        "Settings",
        _INTRODUCTION,
        "## Commands and workers",
        _table(shared),
        "## Containers",
        "Read by workers when `ORCHESTRATOR_CONTAINERS=kubernetes`; [docs/nodes.md](../nodes.md#container) tells more.",
        _table(jobs.described()),
        "## V1 behind HTTP",
        "Read by workers when `ORCHESTRATOR_V1=http`; [docs/v1.md](../v1.md) tells how to choose.",
        _table(behind_http),
        "## The operator",
        "Each is also an option of `orchestrator operator run`. `orchestrator operator settings` shows their values.",
        _table(operator.described()),
        "## The flag, without a cluster",
        "In a cluster they are keys of the Secret that `ORCHESTRATOR_FLAG_SECRET` names.",
        _rows(_FLAG),
        "## Others",
        _rows(_OTHERS),
    )


def variables() -> set[str]:
    """Every variable that the page names."""
    described = {one.variable for one in (*engine.described(), *jobs.described(), *operator.described())}
    return described | {name for name, _, _ in (*_FLAG, *_OTHERS)}


def _table(settings: Iterable[Described]) -> str:
    return _rows((one.variable, one.default, _meaning(one)) for one in settings)


def _rows(rows: Iterable[tuple[str, str, str]]) -> str:
    plain = ("required", "absent")
    return table(
        ("variable", "default", "meaning"),
        ((code(name), default if default in plain else code(default), meaning) for name, default, meaning in rows),
    )


def _meaning(setting: Described) -> str:
    return setting.meaning + (f" One of {', '.join(map(code, setting.words))}." if setting.words else "")
