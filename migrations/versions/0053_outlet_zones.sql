-- The time zone that an outlet's clocks show, by its IANA name: hours, weekdays and ends of days of rules are those there.
-- Null: the programme's.
ALTER TABLE partners.outlet ADD COLUMN time_zone text CHECK (length(time_zone) BETWEEN 1 AND 64);
GRANT UPDATE (time_zone) ON partners.outlet TO tessera_app;
