-- What of a bill earns, what points may pay of it, and how a part of it is returned. A version that was signed before says
-- what held until now: money paid for goods and services earns, points may pay anything, what remains is decided again.
ALTER TABLE partners.agreement
  ADD earn_kinds text[] NOT NULL DEFAULT '{GOODS,SERVICE}'
    CHECK (earn_kinds <@ '{GOODS,SERVICE,DELIVERY,TIP,DEPOSIT,FEE}' AND cardinality(earn_kinds) > 0),
  ADD never_earn_classes text[] NOT NULL DEFAULT '{}',
  ADD never_earn_categories text[] NOT NULL DEFAULT '{}',
  ADD earns_on_tax boolean NOT NULL DEFAULT true,
  ADD unpayable_kinds text[] NOT NULL DEFAULT '{}'
    CHECK (unpayable_kinds <@ '{GOODS,SERVICE,DELIVERY,TIP,DEPOSIT,GIFT_CARD,FEE}'),
  ADD minimum_money_minor bigint NOT NULL DEFAULT 0 CHECK (minimum_money_minor >= 0),
  ADD returns_in_proportion boolean NOT NULL DEFAULT false;
