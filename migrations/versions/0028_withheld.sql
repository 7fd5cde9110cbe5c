-- Points of a partner above its cap are granted and wait: see ledger/withheld.py. Such lots are found here. The condition has
-- only what changes once in a lot's life, so that spending from one stays an update in place; other lots are not in it.
CREATE INDEX lot_withheld ON ledger.lot (unit, funder_id) WHERE open AND expires_at - activates_at = interval '1 microsecond';

ALTER TABLE settlement.exposure
  ADD withheld_micro bigint NOT NULL DEFAULT 0 CHECK (withheld_micro >= 0);   -- of pending: waits until there is room
