"""The dashboard of a rollout: where it stands, what it is judged by, and whether it can see."""

from __future__ import annotations

from typing import Final

from dashboards.board import Board, Row, alarms
from dashboards.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    V1_COLOR,
    V2_COLOR,
    YELLOW,
    Limit,
    Query,
    lines,
    listing,
    number,
    timeline,
)
from dashboards.promql import CRITERION, PROCESS, ROLLOUT, SHARED_RATE, growth, ratio, rollout, series, shared, states

PHASES: Final = {
    "Pending": GREY,
    "Progressing": BLUE,
    "Paused": YELLOW,
    "Held": ORANGE,
    "AwaitingApproval": "purple",
    "Completed": GREEN,
    "RollingBack": "dark-orange",
    "RolledBack": RED,
}
FLAG: Final = {
    "FlagOff": GREY,
    "Percent": BLUE,
    "FlagOn": GREEN,
    "Expired": ORANGE,
    "InvalidFlag": RED,
    "FlagConflict": RED,
    "FlagUnavailable": ORANGE,
}
VERDICTS: Final = {"Pass": GREEN, "Inconclusive": BLUE, "NotApplicable": GREY, "Blind": ORANGE, "Fail": RED}
CONDITION: Final = {"False": GREY, "True": BLUE}


def _started(labels: str) -> str:
    """Executions a second that the router's coin sent, counted when they reach their first age.

    The largest of the operators' counters first, then the rate: the counter stands in the store, so after a failover
    another pod goes on with the same one, and what grew in between belongs to no pod's own series.
    """
    starts = series("orchestrator_cohort_outcomes_total", f'criterion="starts",assignment="execution",{labels}')
    return f"sum(rate(({shared(starts)}){SHARED_RATE}))"


def _largest(metric: str, by: str = "rollout, criterion", labels: str = "") -> str:
    """A gauge of the chosen rollouts: two operators export the same one for a moment, and it counts once."""
    return f"max by ({by}) ({rollout(metric, labels)})"


def _bad(engine: str) -> str:
    bad, everything = (
        _largest("orchestrator_rollout_judged_executions", labels=f'{CRITERION},engine="{engine}",outcome="{outcome}"')
        for outcome in ("bad", "all")
    )
    return ratio(bad, everything)


# By its place among the stages and by its name: `2. week-2`.
_STAGE = (
    f'count_values by (rollout) ("place", {_largest("orchestrator_rollout_stage", "rollout")}) '
    f"* on (rollout) group_right (place) {_largest('orchestrator_rollout_stage_info', 'rollout, stage')}"
)
_FLAG_GIVES = f"max by (namespace) ({series('orchestrator_flag_percent')})"
_NEXT = _largest("orchestrator_rollout_next_timestamp_seconds", "rollout")
_SEEN = "100 * " + ratio(_started('engine="v2"'), _started('engine=~"v1|v2"'))


NOW = Row(
    "",
    [
        number(
            "Phase and stage",
            "Where the rollout stands: its phase, and its stage by number and name. Held, RollingBack and RolledBack "
            "want a person; AwaitingApproval waits for one.",
            [
                Query(f"max by (rollout, phase) ({rollout('orchestrator_rollout_phase')}) == 1", "{{phase}}"),
                Query(_STAGE, "{{place}}. {{stage}}"),
            ],
            base=BLUE,
            names=True,
            colors=PHASES,
            nothing="no rollout",
        ),
        number(
            "V2 gets",
            "The share of new executions that the rollout asks for, and the share that the router gives V2 by the "
            "flag right now. They differ while the flag is being written, and when somebody else's hand is on it.",
            [
                Query(_largest("orchestrator_rollout_percent", "rollout"), "asked: {{rollout}}"),
                Query(_FLAG_GIVES, "by the flag: {{namespace}}"),
            ],
            unit="percent",
            base=BLUE,
        ),
        number(
            "Evidence against V2",
            "The strongest of all criteria, as a share of what convicts: at 100 % the controller rolls back. "
            "It may be looked at as often as you like: the guarantee holds at every moment.",
            [Query(f"clamp_max(max({rollout('orchestrator_rollout_evidence')}), 1)", "evidence")],
            unit="percentunit",
            limits=[Limit(0.1, YELLOW), Limit(1, RED)],
            nothing="none yet",
        ),
        number(
            "Blind, of the budget",
            "How long this stage could not read its metrics, of what spec.blind.budget allows. At 100 % the rollout "
            "does what spec.blind.then says.",
            [
                Query(
                    f"{_largest('orchestrator_rollout_blind_seconds', 'rollout')} / "
                    f"({_largest('orchestrator_rollout_blind_budget_seconds', 'rollout')} > 0)",
                    "{{rollout}}",
                )
            ],
            unit="percentunit",
            limits=[Limit(0.5, YELLOW), Limit(1, RED)],
            nothing="no budget",
        ),
        number(
            "Next move in",
            "Until the next planned move is due: the end of the stage, of an extension, of a cooldown. "
            "Evidence against V2 does not wait for it.",
            [Query(f"clamp_min({_NEXT} - time(), 0)", "{{rollout}}")],
            unit="s",
            base=BLUE,
            nothing="nothing planned",
        ),
        alarms(),
    ],
)

COURSE = Row(
    "",
    [
        lines(
            "Share of V2",
            "Asked for by the rollout, given by the flag, and seen in the executions themselves once they reach their "
            "first age. Seen is of the chosen namespaces whatever rollout is chosen, for executions do not name one; "
            "it counts what stands in the store, so the largest of the operators' counters is taken before its rate. "
            "It scatters at low traffic; a real mismatch holds the rollout, with the reason SampleRatioMismatch.",
            [
                Query(_largest("orchestrator_rollout_percent", "rollout"), "asked: {{rollout}}"),
                Query(_FLAG_GIVES, "by the flag: {{namespace}}"),
                Query(_SEEN, "seen"),
            ],
            unit="percent",
            most=100,
            colors={"asked.*": BLUE, "by the flag.*": GREEN, "seen": ORANGE},
        ),
        timeline(
            "Phases",
            "Which phase held when. The marks above the graphs are the controller's decisions: hover over them.",
            [Query(states("orchestrator_rollout_phase", "phase", tuple(PHASES), "rollout", ROLLOUT), "{{rollout}}")],
            PHASES,
        ),
        timeline(
            "Flag",
            "What the router reads in USE_ORCHESTRATOR_V2. Everything but Percent and FlagOn sends all new executions "
            "to V1; FlagConflict and InvalidFlag want a person.",
            [Query(states("orchestrator_flag_state", "state", tuple(FLAG), "namespace", PROCESS), "{{namespace}}")],
            FLAG,
        ),
    ],
)

ARMS = Row(
    "Criteria: bad executions on V1 and on V2",
    [
        lines(
            "$criterion",
            "The share of bad executions of this attempt on each engine, at the age whose numbers the status shows. "
            "This is what one sees; what counts is the evidence below.",
            [Query(_bad("v1"), "V1 {{rollout}}"), Query(_bad("v2"), "V2 {{rollout}}")],
            unit="percentunit",
            colors={"V1.*": V1_COLOR, "V2.*": V2_COLOR},
            width=24,
        )
        .repeat("criterion")
        .repeat_direction("h")
        .max_per_row(3)
    ],
)

EVIDENCE = Row(
    "Evidence and its limits",
    [
        lines(
            "Evidence that V2 is worse",
            "E as a share of what convicts, on a logarithmic scale: at 1 the controller clears the flag. "
            "Below 1 nothing is decided, however close.",
            [Query(_largest("orchestrator_rollout_evidence"), "{{criterion}}")],
            limits=[Limit(1, RED)],
            logarithmic=True,
        ),
        lines(
            "Evidence that V2 is good enough",
            "E as a share of what a Pass needs, on a logarithmic scale: at 1 the criterion passes. Every required "
            "comparison needs it before its stage may end.",
            [Query(_largest("orchestrator_rollout_pass_evidence"), "{{criterion}}")],
            limits=[Limit(1, GREEN)],
            logarithmic=True,
        ),
        timeline(
            "Verdicts",
            "What each criterion said when. Blind is never counted as success nor as failure.",
            [
                Query(
                    states("orchestrator_rollout_verdict", "verdict", tuple(VERDICTS), "rollout, criterion", ROLLOUT),
                    "{{criterion}}",
                )
            ],
            VERDICTS,
        ),
    ],
)

COUNTS = Row(
    "What the verdicts stand on",
    [
        lines(
            "Executions judged",
            "How many executions of each engine the comparisons stand on. "
            "A stage needs spec.analysis.minimumExecutions of each. V1 is dashed.",
            [
                Query(
                    _largest("orchestrator_rollout_judged_executions", "rollout, criterion, engine", 'outcome="all"'),
                    "{{criterion}} {{engine}}",
                )
            ],
            dashes={".* v1": (6, 6)},
        ),
        lines(
            "Guardrails and their limits",
            "What each guardrail reads, and what it allows. One that stays above its limit for its time "
            "holds the rollout.",
            [
                Query(_largest("orchestrator_rollout_guardrail_value"), "{{criterion}}"),
                Query(_largest("orchestrator_rollout_guardrail_limit"), "limit of {{criterion}}"),
            ],
            colors={"limit.*": RED},
        ),
        lines(
            "Blind time of the stage",
            "How long the stage could not read its metrics in all, and how long it may. A new stage begins at zero.",
            [
                Query(_largest("orchestrator_rollout_blind_seconds", "rollout"), "blind {{rollout}}"),
                Query(_largest("orchestrator_rollout_blind_budget_seconds", "rollout"), "budget {{rollout}}"),
            ],
            unit="s",
            colors={"budget.*": RED},
        ),
    ],
)

LOG = Row(
    "Conditions and decisions",
    [
        timeline(
            "Conditions and alarms",
            "The conditions of the resource, as kubectl shows them: RollbackNotEffective and FlagConflict should be "
            "False, Powered and Calibrated True; one that is not known is not drawn. And what is wrong with the "
            "experiment itself: SampleRatioMismatch, SharedDegradation, NotCalibrated should be False.",
            [
                Query(_largest("orchestrator_rollout_condition", "rollout, condition") + " + 1", "{{condition}}"),
                Query(_largest("orchestrator_rollout_alarm", "rollout, alarm") + " + 1", "{{alarm}}"),
            ],
            CONDITION,
            width=12,
        ),
        listing(
            "Decisions",
            "The last decision of each kind, newest first; all of them: orchestrator rollout history NAME.",
            f"max by (rollout, action, reason) ({rollout('orchestrator_rollout_decision_timestamp_seconds')}) * 1000",
            {"action": "Decision", "reason": "Reason", "rollout": "Rollout"},
        ),
        lines(
            "Decisions not in the log yet",
            "They wait in the status for the store. What stays above zero: the store cannot be written.",
            [Query(_largest("orchestrator_rollout_decisions_pending", "rollout"), "{{rollout}}")],
            limits=[Limit(1, YELLOW)],
            width=12,
        ),
        lines(
            "Messages to the webhook",
            "Sent, failed after all retries, or dropped because too many were waiting.",
            [
                Query(growth("orchestrator_rollout_notifications_total", by="outcome"), "{{outcome}}"),
            ],
            colors={"failed|dropped": RED, "sent": GREEN},
            width=12,
        ),
    ],
)

BOARD: Final = Board(
    uid="orchestrator-rollout",
    title="Orchestrator / Rollout",
    description="A rollout from V1 to V2: where it stands, each criterion with its evidence, blindness, decisions.",
    since="now-24h",
    rows=[NOW, COURSE, ARMS, EVIDENCE, COUNTS, LOG],
    rollouts=True,
)
