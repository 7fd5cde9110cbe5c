-- What an agreement says beyond the till. A version that was signed before has the terms that it was settled under.
ALTER TABLE partners.agreement
  DROP CONSTRAINT agreement_funding_check,
  ADD CONSTRAINT agreement_funding_check
    CHECK (funding IN ('POOL', 'AT_BURN', 'HYBRID', 'REDEEMER', 'OPERATOR')),
  ADD role text NOT NULL DEFAULT 'BOTH' CHECK (role IN ('ISSUER', 'REDEEMER', 'BOTH', 'HONOURS', 'RUN_OFF')),
  ADD hybrid_fund_micro bigint NOT NULL DEFAULT 0 CHECK (hybrid_fund_micro BETWEEN 0 AND fund_price_micro),
  ADD billed_fund_micro bigint NOT NULL GENERATED ALWAYS AS (
    CASE funding WHEN 'POOL' THEN fund_price_micro WHEN 'OPERATOR' THEN fund_price_micro
                 WHEN 'HYBRID' THEN hybrid_fund_micro ELSE 0 END) STORED,
  ADD breakage_share_bp int NOT NULL DEFAULT 0 CHECK (breakage_share_bp BETWEEN 0 AND 10000),
  ADD volume_period text NOT NULL DEFAULT 'MONTH' CHECK (volume_period IN ('MONTH', 'QUARTER', 'YEAR')),
  ADD volume_tiers jsonb NOT NULL DEFAULT '[]',       -- [[above points, rebate per point in micro-units], …]
  ADD volume_rebates jsonb NOT NULL DEFAULT '[]',     -- [[from points, basis points of what was billed], …]
  ADD platform_fee_micro bigint NOT NULL DEFAULT 0 CHECK (platform_fee_micro >= 0),   -- per month
  ADD minimum_fee_micro bigint NOT NULL DEFAULT 0 CHECK (minimum_fee_micro >= 0),     -- per volume period
  ADD debit_cap_micro bigint CHECK (debit_cap_micro >= 0),                            -- none: no cap
  ADD cap_policy text NOT NULL DEFAULT 'ALERT' CHECK (cap_policy IN ('ALERT', 'PENDING_HOLD', 'BLOCK')),
  ADD prefunding_micro bigint NOT NULL DEFAULT 0 CHECK (prefunding_micro >= 0),
  ADD collateral_micro bigint NOT NULL DEFAULT 0 CHECK (collateral_micro >= 0),
  ADD holdback_bp int NOT NULL DEFAULT 0 CHECK (holdback_bp BETWEEN 0 AND 10000),
  ADD payment_days smallint NOT NULL DEFAULT 2 CHECK (payment_days BETWEEN 0 AND 120),
  ADD is_netted boolean NOT NULL DEFAULT true,
  ADD tax_rule text NOT NULL DEFAULT 'NONE' CHECK (tax_rule ~ '^[A-Z][A-Z0-9_]*$'),
  ADD fx_rule text NOT NULL DEFAULT 'DAILY_FIXING' CHECK (fx_rule ~ '^[A-Z][A-Z0-9_]*$'),
  ADD review_days smallint NOT NULL DEFAULT 5 CHECK (review_days BETWEEN 0 AND 120),
  ADD dispute_days smallint NOT NULL DEFAULT 60 CHECK (dispute_days BETWEEN 0 AND 730),
  ADD dispute_minimum_minor bigint NOT NULL DEFAULT 0 CHECK (dispute_minimum_minor >= 0),
  ADD tolerance_minor bigint NOT NULL DEFAULT 0 CHECK (tolerance_minor >= 0),
  ADD tolerance_days smallint NOT NULL DEFAULT 0 CHECK (tolerance_days BETWEEN 0 AND 31),
  ADD cycle text NOT NULL DEFAULT 'MONTH' CHECK (cycle IN ('DAY', 'WEEK', 'MONTH')),
  ADD minimum_payout_minor bigint NOT NULL DEFAULT 0 CHECK (minimum_payout_minor >= 0),
  ADD CHECK (funding <> 'REDEEMER' OR fund_price_micro = 0);

-- The money journal: bookings, each booked once by its source, of entries that balance. Dr is positive, Cr negative.
CREATE TABLE settlement.booking (
  booking_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source      text NOT NULL UNIQUE CHECK (source ~ '^[a-z-]+:.+$'),  -- what was booked: cutoff:12
  fingerprint uuid NOT NULL,                          -- 128 bits of SHA-256 over the entries
  actor       text NOT NULL CHECK (actor <> ''),
  at          timestamptz NOT NULL,                   -- business instant: the accounting period it belongs to
  cutoff_id   int,
  run_id      int REFERENCES settlement.run,
  reverses    bigint UNIQUE REFERENCES settlement.booking,
  wrote_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX booking_at ON settlement.booking (at);
CREATE INDEX booking_cutoff ON settlement.booking (cutoff_id) WHERE cutoff_id IS NOT NULL;

CREATE TABLE settlement.money_posting (
  booking_id      bigint NOT NULL REFERENCES settlement.booking,
  entry_no        int NOT NULL CHECK (entry_no >= 1),
  line_no         smallint NOT NULL CHECK (line_no >= 1),
  kind            text NOT NULL CHECK (kind ~ '^[A-Z_]+$'),
  account         text NOT NULL CHECK (account ~ '^[0-9]{4}E?$'),
  currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  amount_micro    bigint NOT NULL CHECK (amount_micro <> 0),
  party_id        int NOT NULL,        -- whose account: a partner, the funder of an obligation; 0 is the operator
  cohort_id       int NOT NULL,        -- lots issued under this version of terms; 0 where it is about none
  cohort_month    date CHECK (extract(day FROM cohort_month) = 1),     -- of an estimate: when they were issued
  counterparty_id int NOT NULL,        -- who else had to do with it
  terms_id        int NOT NULL,        -- the version that priced the event
  points          bigint NOT NULL,     -- signed like the amount; 0 where no points are behind it
  tax_rule        text,
  promotion       text,
  reference       text,
  PRIMARY KEY (booking_id, entry_no, line_no)
);
CREATE INDEX money_posting_account ON settlement.money_posting (account, party_id, cohort_id);

-- Entries come in whole, and balance in each currency, or not at all.
CREATE FUNCTION settlement.entries_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM written GROUP BY booking_id, entry_no, currency HAVING sum(amount_micro) <> 0) THEN
    RAISE EXCEPTION 'an entry of the money journal does not balance' USING ERRCODE = 'check_violation';
  END IF;
  IF EXISTS (SELECT FROM (SELECT DISTINCT booking_id FROM written) w
             JOIN settlement.money_posting p USING (booking_id)
             GROUP BY booking_id HAVING count(*) <> (SELECT count(*) FROM written x WHERE x.booking_id = w.booking_id))
  THEN
    RAISE EXCEPTION 'a booking of the money journal is written at once' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER entries_balance AFTER INSERT ON settlement.money_posting
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION settlement.entries_balance();

-- Accounting periods that are closed: nothing is booked at or before the latest `through`.
CREATE TABLE settlement.period_lock (
  through         timestamptz PRIMARY KEY,
  approval_id     bigint NOT NULL UNIQUE REFERENCES kit.approval,
  last_booking_id bigint NOT NULL,     -- the latest booking when it was closed
  at              timestamptz NOT NULL
);

-- How points that can be spent came and went, by who funds them and the version they were issued under, priced or not.
CREATE TABLE settlement.stock_movement (
  booking_id bigint NOT NULL REFERENCES settlement.booking,
  funder_id  int NOT NULL,
  terms_id   int NOT NULL,
  kind       text NOT NULL CHECK (kind ~ '^[A-Z_]+$'),
  points     bigint NOT NULL CHECK (points <> 0),     -- above zero: more can be spent
  PRIMARY KEY (booking_id, funder_id, terms_id, kind)
);
CREATE INDEX stock_movement_cohort ON settlement.stock_movement (funder_id, terms_id);

-- Points that nobody touches change hands: who carries them from a cut-off on, and what of their fund part is billed.
CREATE TABLE settlement.stock_transfer (
  approval_id       bigint NOT NULL REFERENCES kit.approval,
  funder_id         int NOT NULL,
  terms_id          int NOT NULL,
  from_cutoff       int NOT NULL,        -- the first that is rated like this
  carrier_id        int NOT NULL,        -- who pays and is paid for them from then on; 0 is the operator
  was_billed_micro  bigint NOT NULL CHECK (was_billed_micro >= 0),    -- of the fund part, what was billed before
  billed_fund_micro bigint NOT NULL CHECK (billed_fund_micro >= 0),   -- what is billed from then on, and was made good
  points            bigint NOT NULL CHECK (points >= 0),              -- that could be spent at the end of the cut-off before
  paid_micro        bigint NOT NULL,     -- what the one who gave them up pays for it; below zero: is paid
  booking_id        bigint NOT NULL REFERENCES settlement.booking,
  PRIMARY KEY (funder_id, terms_id, from_cutoff)
);

-- Points that were issued and billed before the programme came here: lots of this version and funder bill nobody again.
CREATE TABLE settlement.opening_stock (
  approval_id  bigint NOT NULL REFERENCES kit.approval,
  funder_id    int NOT NULL,
  terms_id     int NOT NULL,
  points       bigint NOT NULL CHECK (points > 0),
  PRIMARY KEY (funder_id, terms_id)
);

-- What one unit of a currency was worth in another, by source and day; whoever converts says by which.
CREATE TABLE settlement.fixing (
  day           date NOT NULL,
  currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  base_currency text NOT NULL CHECK (base_currency ~ '^[A-Z]{3}$'),
  rate          numeric(20, 10) NOT NULL CHECK (rate > 0),   -- base units for one unit of the currency
  source        text NOT NULL CHECK (source <> ''),
  actor         text NOT NULL CHECK (actor <> ''),
  at            timestamptz NOT NULL,
  CHECK (currency <> base_currency),
  PRIMARY KEY (day, currency, base_currency)
);

-- A run of the breakage model, and what it expected of each cohort.
CREATE TABLE settlement.breakage_run (
  breakage_run_id int PRIMARY KEY CHECK (breakage_run_id >= 1),   -- without a gap
  model           text NOT NULL CHECK (model ~ '^[a-z-]+/[0-9]+$'),   -- name and version
  as_of           timestamptz NOT NULL,
  actor           text NOT NULL CHECK (actor <> ''),
  booking_id      bigint REFERENCES settlement.booking
);
CREATE TABLE settlement.breakage_estimate (
  breakage_run_id int NOT NULL REFERENCES settlement.breakage_run,
  funder_id       int NOT NULL,
  terms_id        int NOT NULL,
  month           date NOT NULL,
  currency        text NOT NULL,
  issued          bigint NOT NULL CHECK (issued >= 0),
  redeemed        bigint NOT NULL CHECK (redeemed >= 0),
  expired         bigint NOT NULL CHECK (expired >= 0),
  urr_ppm         int NOT NULL CHECK (urr_ppm BETWEEN 0 AND 1000000),   -- ultimate redemption rate, millionths
  estimate_micro  bigint NOT NULL CHECK (estimate_micro >= 0),
  PRIMARY KEY (breakage_run_id, funder_id, terms_id, month)
);

-- Append-only by privilege, as everything of settlement.
GRANT SELECT, INSERT ON
  settlement.booking, settlement.money_posting, settlement.period_lock, settlement.stock_movement,
  settlement.stock_transfer, settlement.opening_stock, settlement.fixing, settlement.breakage_run,
  settlement.breakage_estimate
  TO tessera_app;
