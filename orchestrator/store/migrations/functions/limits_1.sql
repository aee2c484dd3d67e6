-- Locks, in the one order that everybody keeps (limits by their keys, then executions by their ids): the limits of some
-- submissions and of executions that are about to end, the given executions, and those that a change of these limits
-- may touch (queued ones that get a slot, holders that are to be replaced). What is locked here stays as it is until
-- the transaction ends, so that counting slots and taking them is one step.
-- p_limits: [{key, workflow_id, slots, replacing}], one object a key; `replacing` is how many holders may be replaced.
CREATE FUNCTION {s}orchestrator_lock_1(p_ids text[], p_ended text[], p_limits jsonb) RETURNS text[]
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  v_keys text[];
  v_ids text[];
  v_locked int;
BEGIN
  LOOP
    WITH wanted AS (
      SELECT l.key, l.workflow_id, l.slots
        FROM jsonb_to_recordset(p_limits) AS l(key text, workflow_id text, slots int)
      UNION ALL
      SELECT e.limit_key, e.workflow_id, e.slots
        FROM {s}workflow_executions e WHERE e.id = ANY(p_ended) AND e.limit_key IS NOT NULL
    ), made AS (
      INSERT INTO {s}workflow_limits (limit_key, workflow_id, slots)
      SELECT DISTINCT ON (w.key COLLATE "C") w.key, w.workflow_id, w.slots FROM wanted w ORDER BY w.key COLLATE "C"
      ON CONFLICT DO NOTHING
    )
    SELECT coalesce(array_agg(DISTINCT w.key), '{}') INTO v_keys FROM wanted w;
    SELECT count(*) INTO v_locked FROM (
      SELECT 1 FROM {s}workflow_limits l WHERE l.limit_key = ANY(v_keys) ORDER BY l.limit_key FOR UPDATE) locked;
    EXIT WHEN v_locked = cardinality(v_keys);  -- else one was forgotten in between (orchestrator_heal_1)
  END LOOP;
  UPDATE {s}workflow_limits l SET slots = w.slots
    FROM jsonb_to_recordset(p_limits) AS w(key text, slots int)
   WHERE l.limit_key = w.key AND l.slots IS DISTINCT FROM w.slots;

  SELECT array_agg(c.id) INTO v_ids FROM (
    SELECT unnest(p_ids) AS id
    UNION
    SELECT h.id FROM unnest(v_keys) k(key)
      CROSS JOIN LATERAL {s}orchestrator_next_1(k.key, cardinality(p_ended)) AS h(id)
    UNION
    SELECT v.id FROM jsonb_to_recordset(p_limits) AS l(key text, replacing int)
      CROSS JOIN LATERAL (
        SELECT x.id FROM {s}workflow_executions x
         WHERE x.limit_key = l.key AND x.finished_at IS NULL AND NOT x.queued AND NOT x.cancel_requested
         ORDER BY x.created_at, x.id LIMIT l.replacing) v
  ) c;
  PERFORM 1 FROM {s}workflow_executions e WHERE e.id = ANY(v_ids) ORDER BY e.id FOR UPDATE;
  RETURN v_keys;
END $$;

-- The queued executions that the free slots of a key are for, oldest first; `p_more` slots are about to become free.
CREATE FUNCTION {s}orchestrator_next_1(p_key text, p_more int) RETURNS SETOF text
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v_free bigint;
BEGIN
  SELECT coalesce(l.slots, 2147483647)::bigint + p_more INTO v_free FROM {s}workflow_limits l WHERE l.limit_key = p_key;
  SELECT v_free - count(*) INTO v_free
    FROM {s}workflow_executions x WHERE x.limit_key = p_key AND x.finished_at IS NULL AND NOT x.queued;
  RETURN QUERY
    SELECT x.id FROM {s}workflow_executions x
     WHERE x.limit_key = p_key AND x.finished_at IS NULL AND x.queued AND NOT x.cancel_requested
     ORDER BY x.created_at, x.id LIMIT greatest(0, v_free);
END $$;

-- Gives the free slots of some keys, which the caller has locked, to the oldest that wait; returns how many.
CREATE FUNCTION {s}orchestrator_wake_1(p_keys text[], p_at timestamptz) RETURNS int
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  v_key text;
  v_ids text[];
  v_woken int := 0;
BEGIN
  FOREACH v_key IN ARRAY p_keys LOOP
    v_ids := ARRAY(SELECT {s}orchestrator_next_1(v_key, 0));
    UPDATE {s}workflow_executions e
       SET queued = false, due_at = CASE WHEN e.owner IS NULL THEN p_at ELSE e.due_at END, version = e.version + 1,
           dirty = e.dirty OR e.name <> ''
     WHERE e.id = ANY(v_ids);
    v_woken := v_woken + cardinality(v_ids);
  END LOOP;
  RETURN v_woken;
END $$;
