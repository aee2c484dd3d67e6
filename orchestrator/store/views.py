"""The views over the events. Events are written once; checkpoints, completed steps and metrics are looked at.

What a checkpoint's commit took is known only after it: the execution's next append carries it (`timed_append`,
`timed_ms`), so it is NULL until then, and after the last one.
"""

from __future__ import annotations

_METADATA = {
    "postgresql": "jsonb_build_object('duration_ms', t.timed_ms, 'attempt', e.attempt)",
    "sqlite": "json_object('duration_ms', t.timed_ms, 'attempt', e.attempt)",
}


def views(dialect: str, schema: str = "") -> dict[str, str]:
    """The SQL of each view, by name; `schema` is a prefix such as `public.`, quoted already."""
    return {
        "workflow_checkpoints": f"""
            SELECT e.execution_id, e.node_id, e.node_type, e.seq AS version,
                   {_METADATA[dialect]} AS metadata, e.created_at
              FROM {schema}workflow_events e
              LEFT JOIN {schema}workflow_events t
                     ON t.execution_id = e.execution_id AND t.timed_append = e.append_seq
             WHERE e.type = 'StepCompleted'""",
        "workflow_step_executions": f"""
            SELECT execution_id, node_id, attempt, 'success' AS status, created_at
              FROM {schema}workflow_events WHERE type = 'StepCompleted'""",
        "workflow_metrics": f"""
            SELECT execution_id, node_id, attempt - 1 AS retry_count,
                   CASE WHEN type = 'StepCompleted' THEN 'success' ELSE 'failed' END AS status,
                   created_at AS recorded_at
              FROM {schema}workflow_events
             WHERE type = 'StepCompleted'
                OR (type = 'StepFailed' AND data ->> 'retry_at' IS NULL)""",
    }
