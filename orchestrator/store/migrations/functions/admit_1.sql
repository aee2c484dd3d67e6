-- Makes executions; the caller has locked their limits, and who may be asked to make room (orchestrator_lock_1). Returns
-- the ids of those that it made: one that is there already, by id or by key, changes nothing.
-- p_rows: the columns that a new row does not take for granted, and `policy` and `skipped` (the data of the event) where
-- there is a limit. p_events: what they begin with.
CREATE FUNCTION {s}orchestrator_admit_1(
  p_rows jsonb, p_events jsonb, p_victims text[], p_schema int
) RETURNS text[]
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  v_batches jsonb[] := ARRAY[p_rows];
  v_batch jsonb;
  v_row jsonb;
  v_full boolean;
  v_made text[];
  v_all text[] := '{}';
BEGIN
  IF p_rows @? '$[*].limit_key' THEN  -- those under a limit one by one, after all the others
    SELECT array_agg(b.rows ORDER BY b.place) INTO v_batches FROM (
      SELECT 0 AS place, jsonb_agg(r.row) AS rows FROM jsonb_array_elements(p_rows) AS r(row)
       WHERE r.row ->> 'limit_key' IS NULL HAVING count(*) > 0
      UNION ALL
      SELECT r.place, jsonb_build_array(r.row) FROM jsonb_array_elements(p_rows) WITH ORDINALITY AS r(row, place)
       WHERE r.row ->> 'limit_key' IS NOT NULL
    ) b;
  END IF;
  FOREACH v_batch IN ARRAY v_batches LOOP
    v_row := v_batch -> 0;
    v_full := false;
    IF v_row ->> 'limit_key' IS NOT NULL THEN
      SELECT count(*) >= (v_row ->> 'slots')::int INTO v_full FROM {s}workflow_executions x
       WHERE x.limit_key = v_row ->> 'limit_key' AND x.finished_at IS NULL AND NOT x.queued;
      IF v_full AND v_row ->> 'policy' = 'skip' THEN
        v_batch := jsonb_build_array(v_row || jsonb_build_object(
          'status', 'cancelled', 'finished_at', v_row -> 'created_at', 'due_at', NULL,
          'seq', (v_row ->> 'seq')::int + 1));
      ELSIF v_full THEN
        v_batch := jsonb_build_array(v_row || '{"queued": true, "due_at": null}');
      END IF;
    END IF;
    WITH made AS (
      INSERT INTO {s}workflow_executions (
        id, workflow_id, revision, name, engine, assignment, percent, attempt, routing_key, idempotency_key, status,
        current_node_id, done, total, retries, message, input, created_at, finished_at, fence, seq, last_append, due_at,
        longest_timeout, cancel_requested, suspend_requested, parent, origin, limit_key, slots, queued, version, dirty,
        written_version, ages, next_age, next_age_at)
      SELECT r.id, r.workflow_id, r.revision, r.name, r.engine, r.assignment, r.percent, r.attempt, r.routing_key,
             r.idempotency_key, r.status, r.current_node_id, r.done, r.total, 0, r.message, r.input, r.created_at,
             r.finished_at, 0, r.seq, '', r.due_at, r.longest_timeout, false, r.suspend_requested, r.parent, r.origin, r.limit_key,
             r.slots, coalesce(r.queued, false), 1, r.name <> '', 0, r.ages, 0, r.next_age_at
        FROM jsonb_to_recordset(v_batch) AS r(
          id text, workflow_id text, revision text, name text, engine text, assignment text, percent text,
          attempt text, routing_key text, idempotency_key text, status text, current_node_id text, done int, total int,
          message text, input jsonb, created_at timestamptz, finished_at timestamptz, seq int, due_at timestamptz,
          longest_timeout float8, suspend_requested boolean, parent text, origin text, limit_key text, slots int,
          queued boolean, ages jsonb, next_age_at timestamptz)
       ORDER BY r.workflow_id COLLATE "C", r.idempotency_key COLLATE "C", r.id COLLATE "C"
      ON CONFLICT DO NOTHING RETURNING id
    )
    SELECT coalesce(array_agg(made.id), '{}') INTO v_made FROM made;
    v_all := v_all || v_made;
    IF v_full AND cardinality(v_made) > 0 AND v_row ->> 'policy' = 'skip' THEN
      INSERT INTO {s}workflow_events (execution_id, seq, type, schema_version, data, created_at, append_seq)
      VALUES (v_row ->> 'id', (v_row ->> 'seq')::int + 1, 'ExecutionCancelled', p_schema, v_row -> 'skipped',
              (v_row ->> 'created_at')::timestamptz, 1);
      PERFORM {s}orchestrator_record_1(jsonb_build_array(v_row -> 'ended'), p_schema) WHERE v_row -> 'ended' <> 'null';
    ELSIF v_full AND cardinality(v_made) > 0 AND v_row ->> 'policy' = 'replace' THEN
      PERFORM {s}orchestrator_record_1(jsonb_build_array(jsonb_build_object(
                'id', v.id, 'type', 'CancelRequested', 'at', v_row -> 'created_at', 'data', '{}'::jsonb)), p_schema)
         FROM (SELECT x.id FROM {s}workflow_executions x
                WHERE x.id = ANY(p_victims || v_all) AND x.limit_key = v_row ->> 'limit_key'
                  AND x.finished_at IS NULL AND NOT x.queued AND NOT x.cancel_requested
                ORDER BY x.created_at, x.id LIMIT 1) v;
    END IF;
  END LOOP;
  INSERT INTO {s}workflow_events (execution_id, seq, type, schema_version, node_id, node_type, data, created_at,
                                  append_seq, delivery)
  SELECT v.id, v.seq, v.type, p_schema, v.node, v.node_type, v.data, v.at, 1, v.delivery
    FROM jsonb_to_recordset(p_events) AS v(
      id text, seq int, type text, node text, node_type text, data jsonb, at timestamptz, delivery text)
   WHERE cardinality(v_all) = jsonb_array_length(p_rows) OR v.id = ANY(v_all);
  RETURN v_all;
END $$;
