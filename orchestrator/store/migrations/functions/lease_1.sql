-- Extends leases; returns those that are still ours. What was let go while the renewal was on its way keeps its moment:
-- the fence still fits, but the lease has ended.
CREATE FUNCTION {s}orchestrator_renew_1(p_ids text[], p_fences int[], p_until timestamptz)
RETURNS TABLE (id text, seq int)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
  PERFORM 1 FROM {s}workflow_executions x WHERE x.id = ANY(p_ids) ORDER BY x.id FOR UPDATE;
  RETURN QUERY
  UPDATE {s}workflow_executions x SET due_at = CASE WHEN x.owner IS NULL THEN x.due_at ELSE p_until END
    FROM unnest(p_ids, p_fences) AS held(id, fence) WHERE x.id = held.id AND x.fence = held.fence
  RETURNING x.id, x.seq;
END $$;

-- Lets go of executions that are still ours. A request that was recorded while one was owned woke nobody: its owner was
-- to see it, and did not, so it is due at once.
CREATE FUNCTION {s}orchestrator_release_1(
  p_ids text[], p_fences int[], p_seqs int[], p_dues timestamptz[], p_at timestamptz
) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
  PERFORM 1 FROM {s}workflow_executions x WHERE x.id = ANY(p_ids) ORDER BY x.id FOR UPDATE;
  UPDATE {s}workflow_executions x
     SET owner = NULL, due_at = CASE WHEN x.seq = held.seq THEN held.due ELSE p_at END
    FROM unnest(p_ids, p_fences, p_seqs, p_dues) AS held(id, fence, seq, due)
   WHERE x.id = held.id AND x.fence = held.fence AND x.finished_at IS NULL;
END $$;
