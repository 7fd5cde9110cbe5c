-- A partner's people may be cashiers, who sell at the page of the till.
ALTER TABLE gateway.colleague DROP CONSTRAINT colleague_roles_check;
ALTER TABLE gateway.colleague ADD CONSTRAINT colleague_roles_check
  CHECK (cardinality(roles) >= 1 AND roles <@ ARRAY['MANAGER', 'DEVELOPER', 'FINANCE', 'CASHIER']);
