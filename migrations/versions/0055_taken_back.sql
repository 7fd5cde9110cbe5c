-- When the purchase went back that a coupon was granted for. One that was used by then stays used, and is not good again
-- when what it was used for goes back too.
ALTER TABLE partners.coupon ADD COLUMN revoked_at timestamptz CHECK (revoked_at IS NULL OR state IN (3, 4) AND cause IS NOT NULL);
GRANT UPDATE (revoked_at) ON partners.coupon TO tessera_app;

-- A part of a purchase that comes back takes a part of its credit toward a tier.
GRANT UPDATE (credits) ON members.tier_credit TO tessera_app;
