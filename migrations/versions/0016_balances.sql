-- Again what a call pays for its rules (decision 0015). A domain's rule is kept ready by every session, where a CHECK of the
-- table is parsed and planned by each statement; and it is asked only of the columns that are written. It holds for the
-- owner of the tables too.
CREATE DOMAIN ledger.balance AS bigint CONSTRAINT is_not_negative CHECK (VALUE >= 0);
ALTER TABLE ledger.account
  DROP CONSTRAINT nothing_is_negative,
  ALTER available TYPE ledger.balance, ALTER pending TYPE ledger.balance, ALTER held TYPE ledger.balance,
  ALTER debt TYPE ledger.balance, ALTER spent TYPE ledger.balance, ALTER daily_cap TYPE ledger.balance;

-- A lot begins whole: of a new one there is less to ask.
DROP POLICY no_more_than_was_granted ON ledger.lot;
CREATE POLICY is_read_whole ON ledger.lot FOR SELECT USING (true);
CREATE POLICY begins_whole ON ledger.lot FOR INSERT WITH CHECK (
  granted > 0 AND remaining = granted AND held = 0 AND returned = 0 AND open AND expires_at > activates_at);
CREATE POLICY no_more_than_was_granted ON ledger.lot FOR UPDATE USING (true) WITH CHECK (
  least(remaining, held, returned, granted - remaining - held - returned, granted - 1) >= 0
  AND open = (remaining > 0 OR held > 0) AND expires_at > activates_at);

-- What an accrual answers. A type with a name is looked up; one of OUT parameters is put together by every call.
CREATE TYPE ledger.accrued AS (status smallint, seq bigint, available bigint, pending bigint, debt bigint);
