-- A partner's people may be cashiers, who sell at the page of the till.
ALTER TABLE gateway.colleague DROP CONSTRAINT colleague_roles_check;
ALTER TABLE gateway.colleague ADD CONSTRAINT colleague_roles_check
  CHECK (cardinality(roles) >= 1 AND roles <@ ARRAY['MANAGER', 'DEVELOPER', 'FINANCE', 'CASHIER']);

-- The card that a member's device holds, which ends with the session there.
ALTER TABLE gateway.session ADD COLUMN card_id bigint CHECK (card_id IS NULL OR audience = 'MEMBER');
GRANT UPDATE (card_id) ON gateway.session TO tessera_app;
