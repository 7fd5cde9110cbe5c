-- What a code takes off the price of a plan, for so many periods. Never edited but for the uses that are counted, and a
-- stop.
CREATE TABLE members.plan_offer (
  offer_id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  code         text NOT NULL UNIQUE CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  kind         text NOT NULL CHECK (kind IN ('PERCENT', 'AMOUNT', 'FREE')),
  plan_id      int REFERENCES members.plan,                                  -- null: any
  interval     text CHECK (interval IN ('MONTH', 'QUARTER', 'YEAR')),        -- null: any
  percent_bp   int CHECK (percent_bp BETWEEN 1 AND 9999),
  amount_minor bigint CHECK (amount_minor > 0),
  currency     text CHECK (currency ~ '^[A-Z]{3}$'),
  periods      smallint NOT NULL CHECK (periods BETWEEN 1 AND 24),
  is_for_new   boolean NOT NULL,           -- only for who never had a plan
  most_uses    int CHECK (most_uses > 0),
  uses         int NOT NULL DEFAULT 0 CHECK (uses >= 0 AND (most_uses IS NULL OR uses <= most_uses)),
  valid_from   timestamptz NOT NULL,
  valid_until  timestamptz NOT NULL CHECK (valid_until > valid_from),
  stopped_at   timestamptz,
  CHECK ((kind = 'PERCENT') = (percent_bp IS NOT NULL)),
  CHECK ((kind = 'AMOUNT') = (amount_minor IS NOT NULL)),
  CHECK ((amount_minor IS NULL) = (currency IS NULL))
);
-- Whose code was used for which subscription. One that nobody paid is released, and may be used again.
CREATE TABLE members.offer_use (
  holder_id       bigint NOT NULL,
  subscription_no bigint NOT NULL,
  offer_id        int NOT NULL REFERENCES members.plan_offer,
  code_no         bigint,                  -- of a unique code
  at              timestamptz NOT NULL,
  released_at     timestamptz CHECK (released_at >= at),
  PRIMARY KEY (holder_id, subscription_no),
  FOREIGN KEY (holder_id, subscription_no) REFERENCES members.subscription
);
CREATE UNIQUE INDEX offer_use_once ON members.offer_use (holder_id, offer_id) WHERE released_at IS NULL;
CREATE UNIQUE INDEX offer_use_code ON members.offer_use (code_no) WHERE released_at IS NULL;
-- Periods that an offer made cheaper; no invoice where nothing was left to pay.
CREATE TABLE members.offer_period (
  holder_id       bigint NOT NULL,
  subscription_no bigint NOT NULL,
  starts_at       timestamptz NOT NULL,
  offer_id        int NOT NULL REFERENCES members.plan_offer,
  off_minor       bigint NOT NULL CHECK (off_minor > 0),
  invoice_no      bigint UNIQUE,
  PRIMARY KEY (holder_id, subscription_no, starts_at),
  FOREIGN KEY (holder_id, subscription_no) REFERENCES members.subscription
);
-- A present: so many intervals of a plan, paid by who gives it, in a subscription of its own that gives nothing itself.
ALTER TABLE members.subscription ADD COLUMN is_gift boolean NOT NULL DEFAULT false;
CREATE TABLE members.gift (
  holder_id  bigint NOT NULL,              -- who gives
  gift_no    bigint NOT NULL UNIQUE,       -- the number of its subscription
  price_no   int NOT NULL REFERENCES members.plan_price,
  intervals  smallint NOT NULL CHECK (intervals BETWEEN 1 AND 12),
  invoice_no bigint NOT NULL UNIQUE,
  at         timestamptz NOT NULL,
  PRIMARY KEY (holder_id, gift_no),
  FOREIGN KEY (holder_id, gift_no) REFERENCES members.subscription,
  FOREIGN KEY (holder_id, invoice_no) REFERENCES members.invoice
);
-- Who got it, and the days on which it is served.
CREATE TABLE members.gift_use (
  holder_id       bigint NOT NULL,         -- who got it
  subscription_no bigint NOT NULL,
  gift_no         bigint NOT NULL UNIQUE,
  invoice_no      bigint NOT NULL UNIQUE,
  starts_at       timestamptz NOT NULL,
  ends_at         timestamptz NOT NULL CHECK (ends_at > starts_at),
  service_from    date NOT NULL,
  service_until   date NOT NULL CHECK (service_until > service_from),
  price_no        int NOT NULL REFERENCES members.plan_price,
  price_no_before int REFERENCES members.plan_price,   -- what it goes back to; null: it ends with the present
  at              timestamptz NOT NULL,
  PRIMARY KEY (holder_id, subscription_no, gift_no),
  FOREIGN KEY (holder_id, subscription_no) REFERENCES members.subscription
);
-- Codes of offers and presents: nothing but a keyed hash and the last three characters.
CREATE TABLE members.plan_code (
  code_no  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  lookup   uuid NOT NULL UNIQUE,
  tail     text NOT NULL CHECK (length(tail) = 3),
  offer_id int REFERENCES members.plan_offer,
  gift_no  bigint UNIQUE REFERENCES members.gift (gift_no),
  is_word  boolean NOT NULL,
  CHECK (num_nonnulls(offer_id, gift_no) = 1),
  CHECK (NOT is_word OR offer_id IS NOT NULL)
);
ALTER TABLE members.guess
  DROP CONSTRAINT guess_kind_check,
  ADD CONSTRAINT guess_kind_check
    CHECK (kind IN ('TERMINAL', 'CLIENT', 'CODE', 'TERMINAL_PHONE', 'CLIENT_PHONE', 'PLAN_CODE'));
ALTER TABLE members.invoice
  DROP CONSTRAINT invoice_kind_check,
  ADD CONSTRAINT invoice_kind_check CHECK (kind IN ('PERIOD', 'CHANGE', 'GIFT'));
ALTER TABLE members.invoice_line
  DROP CONSTRAINT invoice_line_kind_check,
  ADD CONSTRAINT invoice_line_kind_check
    CHECK (kind IN ('PERIOD', 'PRORATION_CREDIT', 'PRORATION_DEBIT', 'PROMO', 'GIFT'));
ALTER TABLE members.entitlement_grant
  DROP CONSTRAINT entitlement_grant_source_check,
  ADD CONSTRAINT entitlement_grant_source_check CHECK (source IN ('PAID', 'TRIAL', 'GRACE', 'GIFT', 'FREE'));

-- Points that a plan gives for every month that is paid, issued under a partner's agreement and paid from the fees.
ALTER TABLE members.plan
  ADD COLUMN allotment_points bigint NOT NULL DEFAULT 0 CHECK (allotment_points >= 0),
  ADD COLUMN allotment_issuer int CHECK (allotment_issuer > 0),
  ADD COLUMN allotment_on_leaving text NOT NULL DEFAULT 'KEEP' CHECK (allotment_on_leaving IN ('KEEP', 'TAKE_BACK')),
  ADD CONSTRAINT plan_allotment_check CHECK ((allotment_points > 0) = (allotment_issuer IS NOT NULL));
ALTER TABLE members.subscription_due
  DROP CONSTRAINT subscription_due_kind_check,
  ADD CONSTRAINT subscription_due_kind_check
    CHECK (kind IN ('ALLOT', 'ASK', 'CHARGE', 'END', 'EXPIRE', 'NOTICE', 'PERIOD', 'REFUND', 'RESUME', 'TAKE'));
CREATE TABLE partners.allotment (
  holder_id        bigint NOT NULL,
  subscription_no  bigint NOT NULL,
  starts_at        timestamptz NOT NULL,   -- of the month that it is for
  kind             text NOT NULL CHECK (kind IN ('GIVEN', 'TAKEN')),
  ends_at          timestamptz NOT NULL CHECK (ends_at > starts_at),
  points           bigint NOT NULL CHECK (points > 0),
  terms_id         int NOT NULL,
  currency         text NOT NULL,
  price_micro      bigint NOT NULL CHECK (price_micro >= 0),   -- of a point, its fund part
  seq              bigint NOT NULL,        -- of the entry in the member's account
  at               timestamptz NOT NULL,
  PRIMARY KEY (holder_id, subscription_no, starts_at, kind)
);
CREATE INDEX allotment_at ON partners.allotment (at);
-- What a month took from the fees for them; points that were taken back are in a later month.
CREATE TABLE settlement.fee_points (
  month        date NOT NULL,
  currency     text NOT NULL,
  given_micro  bigint NOT NULL CHECK (given_micro >= 0),   -- of all months up to its end
  taken_micro  bigint NOT NULL CHECK (taken_micro >= 0),
  PRIMARY KEY (month, currency),
  FOREIGN KEY (month, currency) REFERENCES settlement.fee_month
);

GRANT SELECT, INSERT ON members.plan_offer, members.offer_use, members.offer_period, members.gift, members.gift_use,
  members.plan_code, partners.allotment, settlement.fee_points TO tessera_app;
GRANT UPDATE (uses, stopped_at) ON members.plan_offer TO tessera_app;
GRANT UPDATE (released_at) ON members.offer_use TO tessera_app;
