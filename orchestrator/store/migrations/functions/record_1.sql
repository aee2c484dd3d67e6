-- Records events for executions that others may own, in the order given; the caller has locked the rows. Returns one
-- letter each: r(ecorded), d(uplicate), o(ver), u(nknown).
-- p_deliveries: [{id, type, at, data, delivery}]; `delivery` tells a repeated signal or end of a child.
CREATE FUNCTION {s}orchestrator_record_1(p_deliveries jsonb, p_schema int) RETURNS text
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
DECLARE
  d record;
  e record;
  v_cancel boolean;
  v_letters text := '';
BEGIN
  FOR d IN SELECT x.* FROM jsonb_to_recordset(p_deliveries)
    AS x(id text, type text, at timestamptz, data jsonb, delivery text)
  LOOP
    v_cancel := d.type = 'CancelRequested';
    SELECT x.seq, x.engine, x.finished_at, x.cancel_requested, x.suspend_requested INTO e
      FROM {s}workflow_executions x WHERE x.id = d.id FOR UPDATE;
    IF NOT FOUND OR e.engine <> 'v2' THEN
      v_letters := v_letters || 'u';
    ELSIF e.finished_at IS NOT NULL THEN
      v_letters := v_letters || 'o';
    ELSIF (v_cancel AND e.cancel_requested)
       OR (d.type = 'SuspendRequested' AND e.suspend_requested)
       OR (d.type = 'ResumeRequested' AND NOT e.suspend_requested)
       OR EXISTS (SELECT 1 FROM {s}workflow_events v WHERE v.execution_id = d.id AND v.delivery = d.delivery)
    THEN
      v_letters := v_letters || 'd';
    ELSE
      INSERT INTO {s}workflow_events (execution_id, seq, type, schema_version, data, created_at, append_seq, delivery)
      VALUES (d.id, e.seq + 1, d.type, p_schema, d.data, d.at, e.seq + 1, d.delivery);
      UPDATE {s}workflow_executions x
         SET seq = x.seq + 1, version = x.version + 1, dirty = x.dirty OR x.name <> '',
             cancel_requested = x.cancel_requested OR v_cancel,
             suspend_requested = CASE d.type WHEN 'SuspendRequested' THEN true WHEN 'ResumeRequested' THEN false
                                 ELSE x.suspend_requested END,
             -- Its owner is told at its next append. One that waits for a slot goes on waiting, unless it is to end.
             due_at = CASE WHEN x.owner IS NULL AND (v_cancel OR NOT x.queued) THEN d.at
                      ELSE x.due_at END
       WHERE x.id = d.id;
      v_letters := v_letters || 'r';
    END IF;
  END LOOP;
  RETURN v_letters;
END $$;

CREATE FUNCTION {s}orchestrator_deliver_1(p_ids text[], p_deliveries jsonb, p_schema int) RETURNS text
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
BEGIN
  PERFORM 1 FROM {s}workflow_executions e WHERE e.id = ANY(p_ids) ORDER BY e.id FOR UPDATE;
  RETURN {s}orchestrator_record_1(p_deliveries, p_schema);
END $$;
