-- Writes log lines of executions under the function that existing queries look for. p_lines: [{id, line}].
CREATE FUNCTION {s}orchestrator_log_1(p_lines jsonb, p_made text[], p_at timestamptz) RETURNS void
LANGUAGE plpgsql SET jit = off AS $$
DECLARE
  v_function int;
BEGIN
  SELECT f.id INTO v_function FROM {s}edge_functions f WHERE f.name = 'execute-workflow';
  IF v_function IS NULL THEN
    INSERT INTO {s}edge_functions (name) VALUES ('execute-workflow') ON CONFLICT DO NOTHING;
    SELECT f.id INTO v_function FROM {s}edge_functions f WHERE f.name = 'execute-workflow';
  END IF;
  INSERT INTO {s}edge_logs (function_id, event_message, timestamp)
  SELECT v_function, l.line, p_at FROM jsonb_to_recordset(p_lines) AS l(id text, line text) WHERE l.id = ANY(p_made);
END $$;

-- Accepts executions in one commit. p_ids: others that this may touch (parents of what may be skipped). Returns a row
-- for each submission that made none: what stands for it.
CREATE FUNCTION {s}orchestrator_submit_1(
  p_rows jsonb, p_events jsonb, p_lines jsonb, p_limits jsonb, p_ids text[], p_at timestamptz, p_schema int
) RETURNS TABLE (submitted text, id text, engine text)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  v_locked record;
  v_victims text[] := '{}';
  v_made text[];
BEGIN
  IF p_limits IS NOT NULL THEN
    v_locked := {s}orchestrator_lock_1(p_ids, '{}', p_limits);
    v_victims := v_locked.victims || v_locked.heads;
    PERFORM {s}orchestrator_wake_1(v_locked.keys, v_locked.heads, p_at);  -- a raised limit is for the oldest
  END IF;
  v_made := {s}orchestrator_admit_1(p_rows, p_events, v_victims, p_schema);
  IF p_lines IS NOT NULL THEN
    PERFORM {s}orchestrator_log_1(p_lines, v_made, p_at);
  END IF;
  IF cardinality(v_made) < jsonb_array_length(p_rows) THEN
    RETURN QUERY
      SELECT r.id, coalesce(same.id, key.id), coalesce(same.engine, key.engine)
        FROM jsonb_to_recordset(p_rows) AS r(id text, workflow_id text, idempotency_key text)
        LEFT JOIN {s}workflow_executions same ON same.id = r.id
        LEFT JOIN {s}workflow_executions key
               ON key.workflow_id = r.workflow_id AND key.idempotency_key = r.idempotency_key
       WHERE r.id <> ALL(v_made);
  END IF;
END $$;
