-- Locks, in the one order that everybody keeps (limits by their keys, then executions by their ids): the limits of some
-- submissions and of executions that are about to end, the given executions, and those that a change of these limits
-- may touch: `heads`, the queued ones that slots are or become free for, and `victims`, the holders that may be asked
-- to make room, both oldest first. Nothing else is touched afterwards, so nobody waits in a ring; and what is locked
-- stays as it is until the transaction ends, so that counting slots and taking them is one step.
-- p_limits: [{key, workflow_id, slots, replacing}], one object a key; `replacing` is how many holders may be replaced.
CREATE FUNCTION {s}orchestrator_lock_1(
  p_ids text[], p_ended text[], p_limits jsonb, OUT keys text[], OUT heads text[], OUT victims text[]
)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
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
    SELECT coalesce(array_agg(DISTINCT w.key), '{}') INTO keys FROM wanted w;
    SELECT count(*) INTO v_locked FROM (
      SELECT 1 FROM {s}workflow_limits l WHERE l.limit_key = ANY(keys) ORDER BY l.limit_key FOR UPDATE) locked;
    EXIT WHEN v_locked = cardinality(keys);  -- else one was forgotten in between (orchestrator_heal_1)
  END LOOP;
  UPDATE {s}workflow_limits l SET slots = w.slots
    FROM jsonb_to_recordset(p_limits) AS w(key text, slots int)
   WHERE l.limit_key = w.key AND l.slots IS DISTINCT FROM w.slots;

  heads := ARRAY(SELECT h.id FROM unnest(keys) AS k(key)
                   CROSS JOIN LATERAL {s}orchestrator_next_1(k.key, cardinality(p_ended)) AS h(id));
  victims := ARRAY(
    SELECT v.id FROM jsonb_to_recordset(p_limits) AS l(key text, replacing int)
      CROSS JOIN LATERAL (
        SELECT x.id FROM {s}workflow_executions x
         WHERE x.limit_key = l.key AND x.finished_at IS NULL AND NOT x.queued AND NOT x.cancel_requested
           AND l.replacing > 0
         ORDER BY x.created_at, x.id LIMIT l.replacing + cardinality(p_ended)) v);
  PERFORM 1 FROM {s}workflow_executions e WHERE e.id = ANY(p_ids || heads || victims) ORDER BY e.id FOR UPDATE;
END $$;

-- The queued executions that the free slots of a key are for, oldest first; `p_more` slots may become free.
CREATE FUNCTION {s}orchestrator_next_1(p_key text, p_more int) RETURNS SETOF text
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v_free bigint := {s}orchestrator_free_1(p_key);
BEGIN
  RETURN QUERY
    SELECT x.id FROM {s}workflow_executions x
     WHERE x.limit_key = p_key AND x.finished_at IS NULL AND x.queued AND NOT x.cancel_requested
     ORDER BY x.created_at, x.id LIMIT greatest(0, v_free + p_more);
END $$;

-- Gives the free slots of some keys to the oldest of `p_heads`; the caller has locked them all. Returns how many. One
-- that was asked to cancel just before it was locked gets a slot, too: it ends soon, and hands it on.
CREATE FUNCTION {s}orchestrator_wake_1(p_keys text[], p_heads text[], p_at timestamptz) RETURNS int
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
  v_key text;
  v_free bigint;
  v_woken int;
  v_all int := 0;
BEGIN
  FOREACH v_key IN ARRAY p_keys LOOP
    v_free := {s}orchestrator_free_1(v_key);
    UPDATE {s}workflow_executions e
       SET queued = false, due_at = CASE WHEN e.owner IS NULL THEN p_at ELSE e.due_at END, version = e.version + 1,
           dirty = e.dirty OR e.name <> ''
     WHERE e.id IN (
       SELECT x.id FROM unnest(p_heads) WITH ORDINALITY AS h(id, place)
         JOIN {s}workflow_executions x ON x.id = h.id
        WHERE x.limit_key = v_key AND x.finished_at IS NULL AND x.queued
        ORDER BY h.place LIMIT greatest(0, v_free));
    GET DIAGNOSTICS v_woken = ROW_COUNT;
    v_all := v_all + v_woken;
  END LOOP;
  RETURN v_all;
END $$;

-- How many slots of a key are free; less than none after a limit was lowered.
CREATE FUNCTION {s}orchestrator_free_1(p_key text) RETURNS bigint
LANGUAGE sql VOLATILE SET enable_seqscan = off SET jit = off AS $$
  SELECT coalesce(l.slots, 2147483647) - (
           SELECT count(*) FROM {s}workflow_executions x
            WHERE x.limit_key = p_key AND x.finished_at IS NULL AND NOT x.queued)
    FROM {s}workflow_limits l WHERE l.limit_key = p_key
$$;
