-- Proofs that spending takes, used up inside its call, so that a retry finds its own answer first and nobody else finds
-- the proof good. The caller has locked the account.

-- 0 where the proof may be used, 8 where its rotating code was, 10 where its approval was. None at all may be used.
CREATE FUNCTION partners.used_proof(p_holder bigint, p_code_card bigint, p_code_step bigint, p_approval bigint)
RETURNS smallint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  PERFORM FROM members.code_use u WHERE u.card_id = p_code_card AND u.step = p_code_step;
  IF FOUND THEN
    RETURN 8;
  END IF;
  PERFORM FROM members.approval_use u WHERE u.member_id = p_holder AND u.approval_no = p_approval;
  RETURN CASE WHEN FOUND THEN 10 ELSE 0 END;
END $$;

CREATE FUNCTION partners.use_proof(
  p_holder bigint, p_code_card bigint, p_code_step bigint, p_approval bigint, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF p_code_card IS NOT NULL THEN
    INSERT INTO members.code_use (card_id, step, used_at) VALUES (p_code_card, p_code_step, p_at);
  END IF;
  IF p_approval IS NOT NULL THEN
    INSERT INTO members.approval_use (member_id, approval_no, used_at) VALUES (p_holder, p_approval, p_at);
  END IF;
END $$;
