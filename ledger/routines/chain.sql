-- The hash chain of an account: each entry's hash is SHA-256 over the hash before, the entry and its postings, all in
-- one canonical form. Whoever changes a row changes every hash behind it, and the seals of the cut-offs.

CREATE FUNCTION ledger.posting_text(
  p_leg smallint, p_debit smallint, p_credit smallint, p_issuer int, p_funder int, p_partner int, p_lot_terms int,
  p_terms int, p_lot_seq bigint, p_lot_no smallint, p_amount bigint)
RETURNS text LANGUAGE sql STABLE AS $$
  SELECT format('%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s;', p_lot_seq, p_amount, p_issuer, p_funder, p_partner, p_lot_terms,
                p_terms, p_leg, p_debit, p_credit, p_lot_no)
$$;

CREATE FUNCTION ledger.posting_bytes(
  p_leg smallint, p_debit smallint, p_credit smallint, p_issuer int, p_funder int, p_partner int, p_lot_terms int,
  p_terms int, p_lot_seq bigint, p_lot_no smallint, p_amount bigint)
RETURNS bytea LANGUAGE sql STABLE AS $$
  SELECT textsend(ledger.posting_text(p_leg, p_debit, p_credit, p_issuer, p_funder, p_partner, p_lot_terms, p_terms,
                                      p_lot_seq, p_lot_no, p_amount))
$$;

CREATE FUNCTION ledger.entry_text(
  p_holder bigint, p_unit smallint, p_seq bigint, p_kind smallint, p_partner int, p_cutoff int, p_amount bigint,
  p_ref_seq bigint, p_available bigint, p_pending bigint, p_held bigint, p_debt bigint, p_at timestamptz,
  p_recorded_at timestamptz, p_idem_key uuid, p_fingerprint uuid)
RETURNS text LANGUAGE sql STABLE AS $$
  SELECT format('%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s;', p_holder, p_seq, p_amount, p_ref_seq, p_available,
                p_pending, p_held, p_debt, p_partner, p_cutoff, p_unit, p_kind, extract(epoch FROM p_at),
                extract(epoch FROM p_recorded_at), p_idem_key, p_fingerprint)
$$;

-- Entry and posting of an accrual of one lot that is recorded at its own instant, of an account that owes nothing: as the
-- two above make it, for less.
CREATE FUNCTION ledger.accrual_text(
  p_holder bigint, p_unit smallint, p_seq bigint, p_partner int, p_cutoff int, p_points bigint, p_available bigint,
  p_pending bigint, p_held bigint, p_at timestamptz, p_idem_key uuid, p_fingerprint uuid, p_issuer int, p_funder int, p_terms int,
  p_credit int)
RETURNS text LANGUAGE sql STABLE AS $$
  SELECT format('%s|%s|%s||%s|%s|%s|0|%s|%s|%s|1|%s|%10$s|%s|%s;%2$s|%3$s|%13$s|%14$s|%7$s|%15$s|%15$s|1|10|%16$s|1;', p_holder,
                p_seq, p_points, p_available, p_pending, p_held, p_partner, p_cutoff, p_unit, extract(epoch FROM p_at),
                p_idem_key, p_fingerprint, p_issuer, p_funder, p_terms, p_credit)
$$;

CREATE FUNCTION ledger.entry_bytes(
  p_holder bigint, p_unit smallint, p_seq bigint, p_kind smallint, p_partner int, p_cutoff int, p_amount bigint,
  p_ref_seq bigint, p_available bigint, p_pending bigint, p_held bigint, p_debt bigint, p_at timestamptz,
  p_recorded_at timestamptz, p_idem_key uuid, p_fingerprint uuid)
RETURNS bytea LANGUAGE sql STABLE AS $$
  SELECT textsend(ledger.entry_text(p_holder, p_unit, p_seq, p_kind, p_partner, p_cutoff, p_amount, p_ref_seq,
                                    p_available, p_pending, p_held, p_debt, p_at, p_recorded_at, p_idem_key,
                                    p_fingerprint))
$$;

CREATE FUNCTION ledger.chain_step(p_state bytea, p_head bytea, p_entry bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT sha256(coalesce(p_state, p_head) || p_entry)
$$;

-- As a window over an account's new entries: the first follows the head, the others each other.
CREATE AGGREGATE ledger.chain(bytea, bytea) (SFUNC = ledger.chain_step, STYPE = bytea);

-- Entries whose hash is not what the rows say, and accounts whose head is not their last entry's hash.
CREATE FUNCTION ledger.verify_chains() RETURNS TABLE (holder_id bigint, unit smallint, seq bigint, what text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  WITH posting AS (
    SELECT holder_id, unit, seq,
           string_agg(ledger.posting_bytes(leg, debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id,
                                           lot_seq, lot_no, amount), ''::bytea ORDER BY leg) AS bytes
    FROM ledger.posting GROUP BY holder_id, unit, seq
  ), recomputed AS (
    SELECT j.holder_id, j.unit, j.seq, j.hash,
           sha256(coalesce(lag(j.hash) OVER (PARTITION BY j.holder_id, j.unit ORDER BY j.seq), ''::bytea)
                  || ledger.entry_bytes(j.holder_id, j.unit, j.seq, j.kind, j.partner_id, j.cutoff_id, j.amount, j.ref_seq,
                                        j.available_after, j.pending_after, j.held_after, j.debt_after, j.at,
                                        j.recorded_at, j.idem_key, j.fingerprint)
                  || coalesce(p.bytes, ''::bytea)) AS expected
    FROM ledger.journal j LEFT JOIN posting p USING (holder_id, unit, seq)
  )
  SELECT holder_id, unit, seq, 'entry is not what its hash says' FROM recomputed WHERE hash <> expected
  UNION ALL
  SELECT a.holder_id, a.unit, a.seq, 'account does not end with its last entry'
  FROM ledger.account a LEFT JOIN ledger.journal j USING (holder_id, unit, seq)
  WHERE a.head_hash <> coalesce(j.hash, ''::bytea)
  ORDER BY holder_id, unit, seq
$$;

CREATE FUNCTION ledger.seal_before(p_cutoff int) RETURNS bytea LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT coalesce((SELECT seal FROM ledger.cutoff WHERE cutoff_id = p_cutoff - 1), ''::bytea)
$$;

-- The seal of a cut-off: over the seal before and the hashes of its tallies. One that was sealed before there were
-- tallies: over the seal before and, in order, the head within it of every account that it touched.
CREATE FUNCTION ledger.seal_of(p_cutoff int) RETURNS bytea LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT CASE WHEN EXISTS (SELECT FROM ledger.tally WHERE cutoff_id = p_cutoff)
    THEN (SELECT sha256(ledger.seal_before(p_cutoff) || string_agg(hash, ''::bytea ORDER BY tally_no))
          FROM ledger.tally WHERE cutoff_id = p_cutoff)
    ELSE (SELECT sha256(ledger.seal_before(p_cutoff)
                 || coalesce(string_agg(int8send(holder_id) || int2send(unit) || int8send(seq) || hash, ''::bytea
                                        ORDER BY holder_id, unit), ''::bytea))
          FROM (SELECT DISTINCT ON (holder_id, unit) holder_id, unit, seq, hash FROM ledger.journal
                WHERE cutoff_id = p_cutoff ORDER BY holder_id, unit, seq DESC) head)
  END
$$;

-- Tallies whose hash is not what their entries say. Every entry of a cut-off is in one: in that of its transaction, or
-- in the rest.
CREATE FUNCTION ledger.verify_tallies() RETURNS TABLE (cutoff_id int, tally_no int)
LANGUAGE sql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
  WITH placed AS (
    SELECT r.cutoff_id, coalesce(t.tally_no, r.tally_no) AS tally_no, j.holder_id, j.unit, j.seq, j.hash
    FROM ledger.journal j
    JOIN ledger.tally r ON r.cutoff_id = j.cutoff_id AND r.until_xid IS NULL
    LEFT JOIN ledger.tally t ON t.cutoff_id = j.cutoff_id AND j.xid >= t.from_xid AND j.xid < t.until_xid
  ), found AS (
    SELECT cutoff_id, tally_no,
           sha256(string_agg(int8send(holder_id) || int2send(unit) || int8send(seq) || hash, ''::bytea
                             ORDER BY holder_id, unit, seq)) AS hash
    FROM placed GROUP BY cutoff_id, tally_no
  )
  SELECT t.cutoff_id, t.tally_no
  FROM ledger.tally t JOIN ledger.cutoff c ON c.cutoff_id = t.cutoff_id AND c.state = 'CUT'
  LEFT JOIN found f ON f.cutoff_id = t.cutoff_id AND f.tally_no = t.tally_no
  WHERE t.hash <> coalesce(f.hash, sha256(''))
$$;

-- Cut-offs whose seal is not what their entries say.
CREATE FUNCTION ledger.verify_seals() RETURNS SETOF int LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT cutoff_id FROM ledger.cutoff WHERE state = 'CUT' AND seal <> ledger.seal_of(cutoff_id)
  UNION
  SELECT cutoff_id FROM ledger.verify_tallies()
  ORDER BY cutoff_id
$$;
