-- Who changed a budget, and the proposal that was approved where it took two people. No author: a part of the system did,
-- or it was before this was kept.
ALTER TABLE partners.budget_limit
  ADD COLUMN author_id   int REFERENCES kit.actor,
  ADD COLUMN approval_id bigint UNIQUE REFERENCES kit.approval,
  ADD CHECK (approval_id IS NULL OR author_id IS NOT NULL);

-- Why a checker decided so, and when a maker took a proposal back. Either ends it, once.
ALTER TABLE kit.approval
  ADD COLUMN reason       text CHECK (length(reason) BETWEEN 1 AND 500),
  ADD COLUMN withdrawn_at timestamptz,
  ADD CHECK (reason IS NULL OR decided_at IS NOT NULL),
  ADD CHECK (withdrawn_at IS NULL OR decided_at IS NULL);
DROP TRIGGER approval_is_decided_once ON kit.approval;
CREATE TRIGGER approval_is_decided_once BEFORE UPDATE ON kit.approval
  FOR EACH ROW WHEN (OLD.decided_at IS NOT NULL OR OLD.withdrawn_at IS NOT NULL)
  EXECUTE FUNCTION kit.refuse_second_decision();
GRANT UPDATE (reason, withdrawn_at) ON kit.approval TO tessera_app;

-- What was asked for before proposals came of it made none: a retry of it is answered so.
UPDATE gateway.person_call SET made = 0 WHERE operation IN ('setBudgetLimit', 'fundBudget') AND made IS NULL;
