-- The second engine: a run's lines, nets and obligation from its postings, money events and agreements alone.
-- It is written from the rules of docs/for-finance.md and shares nothing with settlement/rating. Parameters are in the
-- table `run`; amounts are HUGEINT micro-units, positive where the party receives.
CREATE MACRO half_even(n, d) AS
  (n - ((n % d) + d) % d) // d
  + CASE WHEN 2 * (((n % d) + d) % d) > d THEN 1
         WHEN 2 * (((n % d) + d) % d) = d AND ((n - ((n % d) + d) % d) // d) % 2 <> 0 THEN 1 ELSE 0 END;

-- What a movement between two accounts of the ledger is: its name, what the carrier of the points is charged with
-- (ISSUE, WHOLE, USE, SHARE, NOTHING) and which way, which way whoever took them is paid, and the way of the stock.
CREATE TABLE movement AS SELECT * FROM (VALUES
  (10, 1, 'ACTIVATION', 'ISSUE', -1, 0, 1), (2, 1, 'ACTIVATION', 'ISSUE', -1, 0, 1),
  (15, 1, 'ADJUSTMENT', 'ISSUE', -1, 0, 1), (1, 15, 'ADJUSTMENT_TAKEN', 'ISSUE', 1, 0, -1),
  (1, 13, 'RETURN', 'ISSUE', 1, 0, -1), (4, 13, 'RETURN_OWED', 'WHOLE', 1, 0, 0),
  (1, 11, 'REDEMPTION', 'USE', -1, 1, -1), (3, 11, 'REDEMPTION', 'USE', -1, 1, -1),
  (11, 1, 'REFUND', 'USE', 1, -1, 1), (1, 4, 'REPAYMENT', 'USE', -1, 0, -1),
  (1, 12, 'EXPIRY', 'SHARE', 1, 0, -1), (19, 13, 'FORGIVEN', 'NOTHING', 0, 0, 0),
  (10, 2, 'PENDING', NULL, 0, 0, 0), (2, 13, 'PENDING_RETURN', NULL, 0, 0, 0), (1, 3, 'HELD', NULL, 0, 0, 0),
  (3, 1, 'HELD', NULL, 0, 0, 0), (1, 14, 'TRANSFER', NULL, 0, 0, 0), (2, 14, 'TRANSFER', NULL, 0, 0, 0),
  (14, 1, 'TRANSFER', NULL, 0, 0, 0), (14, 2, 'TRANSFER', NULL, 0, 0, 0)
) t(debit, credit, kind, basis, carrier_way, taker_way, stock_way);

-- Whom money without points is shown to, and which way.
CREATE TABLE flow AS SELECT * FROM (VALUES
  ('DISCOUNT', 'PAYER', -1), ('DISCOUNT', 'PAYEE', 1), ('COUPON', 'PAYER', -1), ('COUPON', 'PAYEE', 1),
  ('BENEFIT', 'PAYER', -1), ('BENEFIT', 'PAYEE', 1), ('SUBSCRIPTION_SHARE', 'PAYEE', 1),
  ('STORED_LOAD', 'PAYER', -1), ('STORED_SPEND', 'PAYEE', 1),
  ('PLATFORM_FEE', 'PAYER', -1), ('MINIMUM_FEE', 'PAYER', -1), ('PRICE_ADJUSTMENT', 'PAYER', -1),
  ('OUTPUT_TAX', 'PAYER', -1), ('INPUT_TAX', 'PAYEE', 1), ('TIER_REBATE', 'PAYEE', 1), ('VOLUME_REBATE', 'PAYEE', 1),
  ('ROUNDING', 'PAYEE', 1), ('STOCK_TRANSFER', 'PAYER', -1), ('DISPUTE_WITHHELD', 'PAYER', 1),
  ('DISPUTE_UPHELD', 'PAYER', -1), ('DEPOSIT_USED', 'PAYER', 1), ('HOLDBACK', 'PAYEE', -1),
  ('HOLDBACK_RELEASED', 'PAYEE', 1), ('HOLDBACK_USED', 'PAYER', 1), ('DEFAULT_LOSS', 'PAYER', 1),
  ('RECEIPT_CREDITED', 'PAYER', -1)
) t(kind, side, way);

-- Which lines are no supply and bear no tax, and which are the partner's supply to the operator.
CREATE TABLE no_supply AS SELECT unnest(['ROUNDING', 'CARRIED_OUT', 'HOLDBACK', 'HOLDBACK_RELEASED', 'HOLDBACK_USED',
  'DEPOSIT_USED', 'DEFAULT_LOSS', 'OUTPUT_TAX', 'INPUT_TAX', 'DISPUTE_WITHHELD', 'DISPUTE_UPHELD', 'STORED_LOAD',
  'STORED_SPEND', 'RECEIPT_CREDITED']) AS kind;
CREATE TABLE by_partner AS SELECT unnest(['REDEMPTION', 'REFUND', 'BENEFIT', 'SUBSCRIPTION_SHARE',
  'DISCOUNT', 'COUPON', 'EXPIRY']) AS kind;

-- Postings in sums, with how their points are carried in their cut-off; those of earlier runs for volume periods alone.
CREATE TABLE summed AS
SELECT true AS is_own, cutoff_id, debit, credit, funder_id, partner_id, lot_terms_id, terms_id,
       sum(points)::HUGEINT AS points, count(*)::HUGEINT AS postings
FROM posting GROUP BY ALL
UNION ALL
SELECT false, cutoff_id, debit, credit, funder_id, 0, lot_terms_id, 0, points::HUGEINT, 0 FROM earlier;
CREATE TABLE carried AS
SELECT s.*, m.kind, m.basis, m.carrier_way, m.taker_way, m.stock_way, l.currency AS lot_currency, l.funding,
       l.fund_price AS fund, coalesce(t.carrier_id, s.funder_id) AS carrier_id, o.terms_id IS NOT NULL AS is_opening,
       coalesce(t.billed_fund, CASE l.funding WHEN 'POOL' THEN l.fund_price WHEN 'OPERATOR' THEN l.fund_price
                                              WHEN 'HYBRID' THEN l.hybrid_fund ELSE 0 END)::HUGEINT AS billed,
       CASE WHEN coalesce(t.carrier_id, s.funder_id) = 0 THEN 0 ELSE l.service_price END::HUGEINT AS service,
       CASE WHEN coalesce(t.carrier_id, s.funder_id) = 0 THEN 0 ELSE l.breakage_share_bp END::HUGEINT AS share_bp
FROM summed s
LEFT JOIN movement m USING (debit, credit)
LEFT JOIN agreement l ON l.terms_id = s.lot_terms_id
LEFT JOIN handover t ON t.funder_id = s.funder_id AND t.terms_id = s.lot_terms_id AND t.from_cutoff = (
  SELECT max(x.from_cutoff) FROM handover x
  WHERE x.funder_id = s.funder_id AND x.terms_id = s.lot_terms_id AND x.from_cutoff <= s.cutoff_id)
LEFT JOIN opened o ON o.funder_id = s.funder_id AND o.terms_id = s.lot_terms_id;

CREATE TABLE unexplained AS
SELECT 'postings from account ' || debit || ' to ' || credit || ' have no name' AS what FROM carried WHERE kind IS NULL
UNION SELECT 'agreement ' || lot_terms_id || ' is missing' FROM carried
      WHERE basis IS NOT NULL AND fund IS NULL AND NOT (funder_id = 0 AND lot_terms_id = 0)
UNION SELECT 'money of kind ' || kind || ' has no way' FROM event WHERE kind NOT IN (SELECT kind FROM flow);

-- Volume periods by number, of as many months as are agreed: points billed less points given back, and the service part
-- of them; months that ended in the run and are charged by it, and those that earlier runs charged.
CREATE MACRO month_of(d) AS year(d) * 12 + month(d) - 1;
CREATE TABLE agreed AS
SELECT f.party, f.terms_id, f.platform_fee::HUGEINT AS fee, f.minimum_fee::HUGEINT AS minimum, f.months,
       month_of(f.agreed_since) AS first_month, month_of(greatest(f.agreed_since, coalesce(b.since_day, f.agreed_since)))
         AS since_month, month_of(b.until_day) AS until_month
FROM (SELECT *, CASE volume_period WHEN 'MONTH' THEN 1 WHEN 'QUARTER' THEN 3 WHEN 'YEAR' THEN 12 END AS months
      FROM in_force) f, bounds b
WHERE platform_fee <> 0 OR minimum_fee <> 0 OR party IN (SELECT party FROM tier) OR party IN (SELECT party FROM rebate);
CREATE TABLE billed_volume AS
SELECT a.party, month_of(s.day) // a.months AS number, c.is_own, sum(-c.carrier_way * c.points)::HUGEINT AS points,
       sum(-c.carrier_way * c.points * l.service_price)::HUGEINT AS service
FROM carried c JOIN span s USING (cutoff_id) JOIN agreed a ON a.party = c.carrier_id
JOIN agreement l ON l.terms_id = c.lot_terms_id
WHERE c.basis IN ('ISSUE', 'WHOLE') AND NOT (c.kind = 'ADJUSTMENT' AND c.is_opening)
  AND c.lot_currency = (SELECT currency FROM run) GROUP BY ALL;
CREATE TABLE ended AS
SELECT party, (month - 1) // months AS number, count(*) AS charged, max(month) AS last
FROM (SELECT party, months, unnest(range(since_month + 1, until_month + 1)) AS month FROM agreed) GROUP BY ALL;
CREATE TABLE volume AS
SELECT a.*, n.number, coalesce(e.charged, 0)::HUGEINT AS charged, coalesce(e.last = (n.number + 1) * a.months, false)
         AS is_over,
       greatest(0, since_month - greatest(n.number * a.months, first_month))::HUGEINT AS charged_before,
       coalesce(o.points, 0)::HUGEINT AS own, coalesce(x.points, 0)::HUGEINT AS before,
       (coalesce(o.service, 0) + coalesce(x.service, 0))::HUGEINT AS service
FROM agreed a JOIN (SELECT party, number FROM ended UNION SELECT party, number FROM billed_volume WHERE is_own) n
  USING (party)
LEFT JOIN ended e ON (e.party, e.number) = (n.party, n.number)
LEFT JOIN billed_volume o ON (o.party, o.number) = (n.party, n.number) AND o.is_own
LEFT JOIN billed_volume x ON (x.party, x.number) = (n.party, n.number) AND NOT x.is_own;

-- What progressive tiers give for the first so many points of a period: up to where the run begins, and to where it ends.
CREATE TABLE tiered AS
SELECT v.party, v.number,
       sum(greatest(0, least(before, coalesce(upto, before)) - above) * rebate)::HUGEINT AS given_before,
       sum(greatest(0, least(before + own, coalesce(upto, before + own)) - above) * rebate)::HUGEINT AS given
FROM volume v JOIN (SELECT party, above, rebate, lead(above) OVER (PARTITION BY party ORDER BY step) AS upto FROM tier) t
  USING (party) GROUP BY ALL;
CREATE TABLE reckoned AS
SELECT v.*, coalesce(t.given, 0)::HUGEINT AS given, coalesce(t.given_before, 0)::HUGEINT AS given_before,
       half_even(greatest(0, v.service)::HUGEINT * coalesce((
         SELECT max_by(r.rebate_bp, r.step) FROM rebate r WHERE r.party = v.party AND r.least <= v.before + v.own
       ), 0)::HUGEINT, 10000::HUGEINT) AS rebate
FROM volume v LEFT JOIN tiered t ON (t.party, t.number) = (v.party, v.number);
CREATE TABLE fee AS
SELECT party, kind, terms_id, sum(micro)::HUGEINT AS micro FROM (
  SELECT party, terms_id, 'TIER_REBATE' AS kind, given - given_before AS micro FROM reckoned
  UNION ALL SELECT party, terms_id, 'PLATFORM_FEE', -fee * charged FROM reckoned
  UNION ALL SELECT party, terms_id, 'VOLUME_REBATE', rebate FROM reckoned WHERE is_over
  UNION ALL SELECT party, terms_id, 'MINIMUM_FEE',
            -greatest(0, minimum - (service + fee * (charged_before + charged) - given - rebate)) FROM reckoned
            WHERE is_over
) GROUP BY ALL HAVING sum(micro) <> 0;

-- How each partner is settled: by which rate of tax, and how much of what was retained no dispute can reach any more.
CREATE TABLE brought AS
SELECT f.party, t.rate_bp AS tax_bp, t.is_by_line,
       greatest(0, coalesce(h.due, 0) - coalesce(h.gone, 0))::HUGEINT AS released_minor
FROM in_force f LEFT JOIN tax t ON t.code = f.tax_rule LEFT JOIN (
  SELECT x.party, sum(CASE WHEN age_micros >= dispute_days::HUGEINT * 86400000000 THEN held_minor ELSE 0 END) AS due,
         sum(x.released_minor + x.used_minor) AS gone
  FROM held x JOIN in_force USING (party) GROUP BY x.party
) h USING (party);

-- What each partner receives or pays before tax.
CREATE TABLE priced AS
SELECT carrier_id AS party, lot_currency AS currency,
       CASE WHEN basis = 'USE' THEN 'FUNDED_' || kind WHEN kind = 'ADJUSTMENT' AND is_opening THEN 'OPENING'
            ELSE kind END AS kind,
       lot_terms_id AS terms_id, points, postings, CASE WHEN kind = 'ADJUSTMENT' AND is_opening THEN 0
            ELSE carrier_way END AS way,
       CASE WHEN kind = 'ADJUSTMENT' AND is_opening THEN 0 WHEN basis = 'ISSUE' THEN billed + service
            WHEN basis = 'WHOLE' THEN fund + service WHEN basis = 'USE' THEN fund - billed
            WHEN basis = 'SHARE' THEN billed * share_bp // 10000 ELSE 0 END AS price
FROM carried
WHERE is_own AND basis IS NOT NULL AND carrier_id <> 0 AND fund IS NOT NULL
  AND NOT (basis = 'USE' AND fund = billed) AND NOT (basis = 'SHARE' AND billed * share_bp // 10000 = 0)
UNION ALL
SELECT c.partner_id, e.currency, CASE WHEN c.funding = 'REDEEMER' THEN c.kind || '_BORNE' ELSE c.kind END, c.terms_id,
       c.points, c.postings, c.taker_way,
       CASE WHEN c.funding = 'REDEEMER' THEN 0 ELSE e.reimbursement_price END::HUGEINT
FROM carried c JOIN agreement e ON e.terms_id = c.terms_id
WHERE c.is_own AND c.taker_way <> 0 AND c.partner_id <> 0;

CREATE TABLE own_line AS
SELECT party, kind, terms_id, price, sum(points)::HUGEINT AS points, sum(postings)::HUGEINT AS postings,
       sum(way * points * price)::HUGEINT AS micro
FROM priced WHERE currency = (SELECT currency FROM run) GROUP BY party, kind, terms_id, price
UNION ALL
SELECT CASE side WHEN 'PAYER' THEN payer_id ELSE payee_id END AS party, kind, terms_id, 0, sum(points)::HUGEINT,
       sum(count)::HUGEINT, sum(way * amount_micro)::HUGEINT
FROM event JOIN flow USING (kind)
WHERE currency = (SELECT currency FROM run) AND CASE side WHEN 'PAYER' THEN payer_id ELSE payee_id END <> 0
GROUP BY ALL
UNION ALL
SELECT party, kind, terms_id, 0, 0, 1, micro FROM fee;

CREATE TABLE shown AS
SELECT l.*, half_even(micro, (SELECT per_minor FROM run)::HUGEINT) AS minor FROM own_line l;

-- Tax on what was supplied, by document: on every line of it, or once.
CREATE TABLE supplied AS
SELECT s.party, abs(minor) AS base,
       CASE WHEN kind IN (FROM by_partner) THEN CASE WHEN minor > 0 THEN 'SELF_BILLED' ELSE 'SELF_BILLED_CREDIT' END
            WHEN minor < 0 THEN 'INVOICE' ELSE 'CREDIT_NOTE' END AS document,
       b.tax_bp::HUGEINT AS tax_bp, b.is_by_line
FROM shown s JOIN brought b USING (party) WHERE minor <> 0 AND kind NOT IN (FROM no_supply);
CREATE TABLE taxed AS
SELECT party, kind, sum(way * tax)::HUGEINT AS minor FROM (
  SELECT party, CASE WHEN document IN ('INVOICE', 'CREDIT_NOTE') THEN 'OUTPUT_TAX' ELSE 'INPUT_TAX' END AS kind,
         CASE WHEN document IN ('SELF_BILLED', 'CREDIT_NOTE') THEN 1 ELSE -1 END AS way,
         CASE WHEN bool_and(is_by_line) THEN sum(half_even(base * tax_bp, 10000::HUGEINT))
              ELSE half_even(sum(base)::HUGEINT * any_value(tax_bp), 10000::HUGEINT) END AS tax
  FROM supplied GROUP BY party, document
) GROUP BY party, kind HAVING sum(way * tax) <> 0;

CREATE TABLE settled AS
WITH per AS (SELECT per_minor::HUGEINT AS per FROM run), before_rounding AS (
  SELECT party, kind, terms_id, price, points, postings, micro, minor FROM shown
  UNION ALL SELECT party, kind, 0, 0, 0, 0, minor * per, minor FROM taxed, per
), totals AS (
  SELECT party, sum(micro)::HUGEINT AS micro, sum(minor)::HUGEINT AS minor FROM before_rounding GROUP BY party
), due AS (
  SELECT coalesce(t.party, b.party) AS party, coalesce(t.micro, 0)::HUGEINT AS micro,
         coalesce(t.minor, 0)::HUGEINT AS minor, half_even(coalesce(t.micro, 0)::HUGEINT, per) AS rounded,
         coalesce(c.opening_minor, 0)::HUGEINT AS opening, coalesce(b.released_minor, 0)::HUGEINT AS released,
         coalesce(a.holdback_bp, 0)::HUGEINT AS holdback_bp, coalesce(a.is_netted, true) AS is_netted,
         coalesce(a.minimum_payout, 0)::HUGEINT AS minimum_payout
  FROM totals t FULL JOIN brought b USING (party) CROSS JOIN per
  LEFT JOIN carried_in c ON c.party = coalesce(t.party, b.party)
  LEFT JOIN in_force a ON a.party = coalesce(t.party, b.party)
  WHERE t.party IS NOT NULL OR coalesce(c.opening_minor, 0) <> 0 OR coalesce(b.released_minor, 0) <> 0
), kept AS (
  SELECT *, greatest(0, least(rounded, opening + rounded)) * holdback_bp // 10000 AS held FROM due
), payable AS (SELECT *, opening + rounded + released - held AS payable FROM kept)
SELECT party, kind, terms_id, price, points, postings, micro, minor FROM before_rounding
UNION ALL SELECT party, 'ROUNDING', 0, 0, 0, 0, rounded * per - micro, rounded - minor FROM due, per
          WHERE rounded * per <> micro OR rounded <> minor
UNION ALL SELECT party, 'HOLDBACK_RELEASED', 0, 0, 0, 0, released * per, released FROM due, per WHERE released <> 0
UNION ALL SELECT party, 'HOLDBACK', 0, 0, 0, 0, -held * per, -held FROM kept, per WHERE held <> 0
UNION ALL SELECT party, 'CARRIED_OUT', 0, 0, 0, 0, -payable * per, -payable FROM payable, per
          WHERE is_netted AND abs(payable) < minimum_payout AND payable <> 0
UNION ALL SELECT party, '', 0, 0, 0, 0, opening * per, opening FROM due, per;  -- what it opens with: no line

CREATE TABLE stock AS
SELECT funder_id, terms_id, kind, price, sum(points)::HUGEINT AS points, sum(points * price)::HUGEINT AS micro FROM (
  SELECT funder_id, lot_terms_id AS terms_id, kind, billed AS price, stock_way * points AS points FROM carried
  WHERE is_own AND stock_way <> 0 AND fund IS NOT NULL AND lot_currency = (SELECT currency FROM run)
  UNION ALL
  SELECT h.funder_id, h.terms_id, 'STOCK_TRANSFER', p.price, p.way * h.points
  FROM handover h JOIN agreement a USING (terms_id), LATERAL (VALUES (-1, h.was_billed), (1, h.billed_fund)) p(way, price)
  WHERE h.from_cutoff IN (SELECT cutoff_id FROM cutoff) AND h.points > 0 AND h.was_billed <> h.billed_fund
    AND a.currency = (SELECT currency FROM run)
) GROUP BY ALL;
