-- Commits appends of many executions, each as a whole or not at all. Returns one letter each, in their order:
-- c(ommitted, perhaps by an earlier call of the same append), s(tale: ours, but events were recorded meanwhile),
-- f(enced: another worker owns it).
-- p_appends: sorted by id, the order in which everybody locks executions. p_events: all their events. p_ended:
-- the ids of those that end. p_more: what else is committed with them, or NULL: {ids, limits, rows, events, lines,
-- deliveries, at}; each row, event, line and delivery bears the `n` of its append.
CREATE FUNCTION {s}orchestrator_append_1(
  p_appends jsonb, p_events jsonb, p_ended text[], p_more jsonb, p_schema int
) RETURNS text
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  a record;
  e record;
  v_limited boolean := false;
  v_locked record;
  v_letters text := '';
  v_refused int[] := '{}';
  v_at timestamptz;
  v_made text[];
BEGIN
  IF cardinality(p_ended) > 0 THEN
    v_limited := EXISTS (SELECT 1 FROM {s}workflow_executions x
                          WHERE x.id = ANY(p_ended) AND x.limit_key IS NOT NULL);
  END IF;
  IF v_limited OR p_more IS NOT NULL THEN
    v_locked := {s}orchestrator_lock_1(
      ARRAY(SELECT x.id FROM jsonb_to_recordset(p_appends) AS x(id text)
            UNION SELECT jsonb_array_elements_text(p_more -> 'ids')),
      p_ended, coalesce(p_more -> 'limits', '[]'));
    v_limited := cardinality(v_locked.keys) > 0;
  END IF;

  FOR a IN SELECT x.* FROM jsonb_to_recordset(p_appends) AS x(
    n int, id text, append text, fence int, first int, last int, status text, node text, done int, total int,
    retries int, started_at timestamptz, finished_at timestamptz, output jsonb, error jsonb, release boolean,
    due_at timestamptz, step_deadline timestamptz)
  LOOP
    UPDATE {s}workflow_executions x
       SET status = a.status, current_node_id = a.node, done = a.done, total = a.total,
           retries = a.retries, started_at = a.started_at, queued = x.queued AND a.finished_at IS NULL,
           finished_at = a.finished_at, output = a.output, error = a.error, step_deadline = a.step_deadline,
           seq = a.last, last_append = a.append, version = x.version + 1, dirty = x.dirty OR x.name <> '',
           due_at = CASE WHEN a.release THEN a.due_at ELSE x.due_at END,
           owner = CASE WHEN a.release THEN NULL ELSE x.owner END
     WHERE x.id = a.id AND x.fence = a.fence AND x.seq = a.first - 1 AND x.finished_at IS NULL;
    IF FOUND THEN
      v_letters := v_letters || 'c';
      v_at := greatest(v_at, a.finished_at);
    ELSE
      v_refused := v_refused || a.n;
      SELECT x.last_append, x.fence INTO e FROM {s}workflow_executions x WHERE x.id = a.id;
      v_letters := v_letters
        || CASE WHEN e.last_append = a.append THEN 'c' WHEN e.fence = a.fence THEN 's' ELSE 'f' END;
    END IF;
  END LOOP;

  IF cardinality(v_refused) = 0 THEN
    INSERT INTO {s}workflow_events (execution_id, seq, type, schema_version, node_id, node_type, attempt, data,
                                    created_at, append_seq, timed_append, timed_ms)
    SELECT v.id, v.seq, v.type, p_schema, v.node, v.node_type, v.attempt, v.data, v.at, v.first, v.timed_append,
           v.timed_ms
      FROM jsonb_to_recordset(p_events) AS v(
        id text, seq int, type text, node text, node_type text, attempt int, data jsonb, at timestamptz, first int,
        timed_append int, timed_ms float8);
  ELSE
    INSERT INTO {s}workflow_events (execution_id, seq, type, schema_version, node_id, node_type, attempt, data,
                                    created_at, append_seq, timed_append, timed_ms)
    SELECT v.id, v.seq, v.type, p_schema, v.node, v.node_type, v.attempt, v.data, v.at, v.first, v.timed_append,
           v.timed_ms
      FROM jsonb_to_recordset(p_events) AS v(
        n int, id text, seq int, type text, node text, node_type text, attempt int, data jsonb, at timestamptz,
        first int, timed_append int, timed_ms float8)
     WHERE v.n <> ALL(v_refused);
  END IF;

  IF v_limited AND v_at IS NOT NULL THEN
    PERFORM {s}orchestrator_wake_1(v_locked.keys, v_locked.heads, v_at);
  END IF;
  IF p_more IS NOT NULL THEN
    IF jsonb_array_length(p_more -> 'rows') > 0 THEN
      v_made := {s}orchestrator_admit_1({s}orchestrator_without_1(p_more -> 'rows', v_refused),
                                        {s}orchestrator_without_1(p_more -> 'events', v_refused),
                                        v_locked.victims || v_locked.heads, p_schema);
      PERFORM {s}orchestrator_log_1(p_more -> 'lines', v_made, (p_more ->> 'at')::timestamptz)
        WHERE jsonb_array_length(p_more -> 'lines') > 0;
    END IF;
    PERFORM {s}orchestrator_record_1({s}orchestrator_without_1(p_more -> 'deliveries', v_refused), p_schema);
  END IF;
  RETURN v_letters;
END $$;

-- An array of objects without those of the refused appends.
CREATE FUNCTION {s}orchestrator_without_1(p_things jsonb, p_refused int[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN cardinality(p_refused) = 0 THEN p_things
              ELSE (SELECT coalesce(jsonb_agg(t.thing ORDER BY t.place), '[]')
                      FROM jsonb_array_elements(p_things) WITH ORDINALITY AS t(thing, place)
                     WHERE (t.thing ->> 'n')::int <> ALL(p_refused)) END
$$;
