-- Gives free slots to those that wait (a limit was raised, a row was removed by hand), and forgets limits that nobody is
-- under any more; returns how many got one.
CREATE FUNCTION {s}orchestrator_heal_1(p_at timestamptz) RETURNS int
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  v_unused text[];
  v_locked record;
BEGIN
  v_unused := ARRAY(
    SELECT l.limit_key FROM {s}workflow_limits l
     WHERE NOT EXISTS (SELECT 1 FROM {s}workflow_executions x
                        WHERE x.limit_key = l.limit_key AND x.finished_at IS NULL)
     ORDER BY l.limit_key LIMIT 1000 FOR UPDATE SKIP LOCKED);
  -- Asked again now that they are locked: somebody may have come meanwhile.
  DELETE FROM {s}workflow_limits l
   WHERE l.limit_key = ANY(v_unused)
     AND NOT EXISTS (SELECT 1 FROM {s}workflow_executions x
                      WHERE x.limit_key = l.limit_key AND x.finished_at IS NULL);
  v_locked := {s}orchestrator_lock_1('{}', ARRAY(
    SELECT DISTINCT ON (x.limit_key) x.id FROM {s}workflow_executions x
     WHERE x.limit_key IS NOT NULL AND x.finished_at IS NULL AND x.queued AND NOT x.cancel_requested
     ORDER BY x.limit_key, x.created_at DESC), '[]');
  RETURN {s}orchestrator_wake_1(v_locked.keys, v_locked.heads, p_at);
END $$;
