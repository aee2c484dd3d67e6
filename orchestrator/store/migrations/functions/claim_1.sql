-- Takes executions that are due, oldest first; pending ones of V2 get their first event in the same commit. Nothing is
-- written, and nothing is waited for, when nothing is due. The first event comes along (first_*) where it and the one
-- that is written here are the whole history.
CREATE FUNCTION {s}orchestrator_claim_1(
  p_owner text, p_engine text, p_most int, p_at timestamptz, p_until timestamptz, p_schema int
) RETURNS TABLE (id text, workflow_id text, revision text, fence int, seq int, status text, begun boolean,
                 created_at timestamptz, input jsonb, first_at timestamptz, first_schema int, first_data jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
  v_v2 boolean := p_engine = 'v2';
BEGIN
  RETURN QUERY
  WITH picked AS MATERIALIZED (
    SELECT x.id, x.status = 'pending' AS begun FROM {s}workflow_executions x
     WHERE x.engine = p_engine AND x.due_at <= p_at AND x.finished_at IS NULL
     ORDER BY x.due_at LIMIT p_most FOR UPDATE SKIP LOCKED
  ), claimed AS (
    UPDATE {s}workflow_executions x
       SET owner = p_owner, fence = x.fence + 1, due_at = CASE WHEN v_v2 THEN p_until END,
           step_deadline = p_at + make_interval(secs => x.longest_timeout),
           status = CASE WHEN p.begun THEN 'running' ELSE x.status END,
           started_at = CASE WHEN p.begun THEN p_at ELSE x.started_at END,
           seq = CASE WHEN p.begun AND v_v2 THEN x.seq + 1 ELSE x.seq END,
           version = CASE WHEN p.begun THEN x.version + 1 ELSE x.version END,
           dirty = x.dirty OR (p.begun AND x.name <> '')
      FROM picked p WHERE x.id = p.id
    RETURNING x.id, x.workflow_id, x.revision, x.fence, x.seq, x.status, p.begun, x.created_at, x.input
  ), started AS (
    INSERT INTO {s}workflow_events (execution_id, seq, type, schema_version, data, created_at, append_seq)
    SELECT c.id, c.seq, 'ExecutionStarted', p_schema, '{}', p_at, c.seq FROM claimed c WHERE c.begun AND v_v2
  )
  SELECT c.id, c.workflow_id, c.revision, c.fence, c.seq, c.status, c.begun, c.created_at, c.input,
         f.created_at, f.schema_version, f.data
    FROM claimed c
    LEFT JOIN {s}workflow_events f ON v_v2 AND c.begun AND c.seq = 2 AND f.execution_id = c.id AND f.seq = 1;
END $$;
