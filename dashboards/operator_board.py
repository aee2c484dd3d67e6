"""The dashboard of the operator itself: whether it leads, hears, writes, and what it costs."""

from __future__ import annotations

from typing import Final

from dashboards.board import Board, Row, alarms
from dashboards.panels import BLUE, GREEN, ORANGE, RED, V1_COLOR, V2_COLOR, YELLOW, Limit, Query, lines, number
from dashboards.promql import RATE, growth, quantile, rate, series

# Of the operators of a namespace the one that leads is the newest; of the namespaces the one that is stuck counts.
_HEARD = series("orchestrator_watch_heard_timestamp_seconds")
_RESYNCED = f"time() - min(max by (namespace) ({series('orchestrator_resync_timestamp_seconds')}))"

NOW = Row(
    "",
    [
        number(
            "Leaders",
            "Operators that route, judge and write status now: 1, while the others wait; of several namespaces the "
            "one with the fewest. With 0 nothing new starts there and nobody judges. 2 can be seen at the scrapes "
            "around a failover.",
            [Query(f"min(sum by (namespace) ({series('orchestrator_operator_leader')}))", "leaders")],
            base=RED,
            limits=[Limit(1, GREEN)],
            nothing="none",
        ),
        number(
            "Last resync",
            "Since all resources were compared with the store, and nothing failed. Every minute by default; "
            "this is what heals whatever the watch missed. Of several namespaces the one that waits longest.",
            [Query(_RESYNCED, "ago")],
            unit="s",
            limits=[Limit(180, YELLOW), Limit(600, RED)],
            nothing="never",
        ),
        number(
            "Watch last heard",
            "Since the watch told of any resource. It grows while nothing happens; with traffic it is seconds. "
            "Of several namespaces the one that waits longest.",
            [Query(f"time() - min(max by (namespace) ({_HEARD}))", "ago")],
            unit="s",
            base=BLUE,
            nothing="never",
        ),
        number(
            "Failed, last hour",
            "Looks at a resource that failed, and were repeated or quarantined. The log says at which and why.",
            [Query(f"sum(increase({series('orchestrator_reconcile_errors_total')}[1h]))", "errors")],
            limits=[Limit(1, YELLOW), Limit(100, RED)],
            decimals=0,
        ),
        number(
            "Largest memory",
            "Resident memory of the largest of our processes.",
            [Query(f"max({series('process_resident_memory_bytes')})", "memory")],
            unit="bytes",
            base=BLUE,
        ),
        alarms(),
    ],
)

RECONCILE = Row(
    "",
    [
        lines(
            "Reconcile latency",
            "One look at one resource and what followed of it: half of them (dashed) and 99 % were faster.",
            [
                Query(
                    quantile(share, "orchestrator_reconcile_duration_seconds", by="resource"), "{{resource}} p" + name
                )
                for share, name in ((0.5, "50"), (0.99, "99"))
            ],
            unit="s",
            colors={"enginerollouts.*": "purple", "executions.*": BLUE, "workflows.*": GREEN},
            dashes={".* p50": (6, 6)},
        ),
        lines(
            "Reconciles",
            "Looks at resources a second, by kind: each change that the watch tells of, each resync, each repetition.",
            [Query(rate("orchestrator_reconcile_duration_seconds_count", by="resource"), "{{resource}}")],
            unit="ops",
        ),
        lines(
            "Reconcile errors",
            "Looks that failed: the store or the API server did not answer (they are repeated), or an object was "
            "quarantined with a condition.",
            [
                Query(growth("orchestrator_reconcile_errors_total", by="resource"), "{{resource}}"),
            ],
            limits=[Limit(1, YELLOW)],
        ),
    ],
)

WRITING = Row(
    "Watching and writing",
    [
        lines(
            "Status writes",
            "Status patches of Executions a second: written, failed (and repeated), or for a resource that is gone.",
            [Query(rate("orchestrator_status_writes_total", by="result"), "{{result}}")],
            unit="ops",
            colors={"written": GREEN, "error": RED},
        ),
        lines(
            "Watch and resync age",
            "Since the watch last told of a resource of each kind, and since the last full comparison, in the "
            "namespace that waits longest. The second one should stay below three of its intervals.",
            [
                Query(f"time() - min by (resource) (max by (namespace, resource) ({_HEARD}))", "{{resource}}"),
                Query(_RESYNCED, "resync"),
            ],
            unit="s",
            colors={"resync": BLUE},
        ),
        lines(
            "Routing decisions",
            "New executions a second, by engine and by why.",
            [Query(rate("orchestrator_router_decisions_total", by="engine, reason"), "{{engine}} {{reason}}")],
            unit="ops",
            colors={"v1.*": V1_COLOR, "v2.*": V2_COLOR},
        ),
        lines(
            "Changes the watch did not tell",
            "Objects of which two comparisons in a row have shown a change that the watch did not tell. 0 is healthy; "
            "more means that it is silent: it is opened anew, and if that does not help the Pod is restarted.",
            [Query(f"max by (namespace) ({series('orchestrator_watch_behind_objects')})", "{{namespace}}")],
            width=24,
        ),
    ],
)

SERVER = Row(
    "API server",
    [
        lines(
            "Requests",
            "To the API server a second, by verb, repeated ones too; without those of the watch.",
            [Query(rate("orchestrator_kubernetes_requests_total", by="verb"), "{{verb}}")],
            unit="reqps",
        ),
        lines(
            "Answers by code",
            "409 now and then is the price of preconditions; 429 and 5xx are repeated; 0 is no answer at all.",
            [Query(rate("orchestrator_kubernetes_requests_total", by="code"), "{{code}}")],
            unit="reqps",
            colors={"2..": GREEN, "409|404": ORANGE, "0|403|422|429|5..": RED},
        ),
        lines(
            "Latency, p99 by verb",
            "One request until all of its answer was there.",
            [Query(quantile(0.99, "orchestrator_kubernetes_request_duration_seconds", by="verb"), "{{verb}}")],
            unit="s",
        ),
    ],
)

DOOR = Row(
    "HTTP door",
    [
        lines(
            "Answers of the HTTP door",
            "Requests a second by the answer's status. 429: workers do not keep up; 401: somebody without a token; "
            "503: the store, the tokens or the API server are away, and callers come again. Zeros: it is closed, or "
            "nobody calls.",
            [Query(rate("orchestrator_door_requests_total", by="code"), "{{code}}")],
            unit="reqps",
            width=12,
            colors={"20.": GREEN, "40.|41.|422": ORANGE, "429": YELLOW, "5..": RED},
        ),
        lines(
            "Callers that wait",
            "Requests with ?wait= that are held now. At ORCHESTRATOR_DOOR_WAITS (500 by default) the next ones get a "
            "202 at once.",
            [Query(f"sum({series('orchestrator_door_waits')})", "waiting")],
            width=12,
            colors={"waiting": BLUE},
        ),
    ],
)

COST = Row(
    "What it costs",
    [
        lines(
            "Memory",
            "Resident memory by process. Workers with --processes above 1 export none.",
            [Query(series("process_resident_memory_bytes"), "{{job}} {{instance}}")],
            unit="bytes",
        ),
        lines(
            "Processor",
            "Cores used by each process. A Python process uses one at most: near 1 it is full, and more workers help.",
            [Query(f"rate({series('process_cpu_seconds_total')}{RATE})", "{{job}} {{instance}}")],
            limits=[Limit(0.9, YELLOW)],
        ),
        lines(
            "Open files",
            "Of what the process may open.",
            [
                Query(
                    f"{series('process_open_fds')} / {series('process_max_fds')}",
                    "{{job}} {{instance}}",
                )
            ],
            unit="percentunit",
            limits=[Limit(0.8, RED)],
        ),
    ],
)

BOARD: Final = Board(
    uid="orchestrator-operator",
    title="Orchestrator / Operator",
    description="The operator: leader, watch, reconciles, status writes, API server, HTTP door, and what it costs.",
    since="now-6h",
    rows=[NOW, RECONCILE, WRITING, SERVER, DOOR, COST],
)
