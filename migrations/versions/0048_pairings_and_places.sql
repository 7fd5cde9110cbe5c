-- A code that one till shows for a moment; the member who confirms it in the app is the till's visit. Of the code stays
-- its hash. A till's latest one alone is good. Removed when they are over.
CREATE TABLE members.pairing (
  pairing_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  began_at    timestamptz NOT NULL,
  expires_at  timestamptz NOT NULL CHECK (expires_at > began_at),
  idem_key    uuid NOT NULL UNIQUE,
  fingerprint uuid NOT NULL,
  partner_id  int NOT NULL,
  outlet_id   int NOT NULL,
  terminal_id int NOT NULL,
  client_no   int NOT NULL,
  code_hash   bytea NOT NULL UNIQUE CHECK (octet_length(code_hash) = 32)
);
CREATE INDEX pairing_of_terminal ON members.pairing (terminal_id, pairing_id);
CREATE INDEX pairing_over ON members.pairing (expires_at);

CREATE TABLE members.pairing_answer (
  pairing_id  bigint PRIMARY KEY REFERENCES members.pairing ON DELETE CASCADE,
  member_id   bigint NOT NULL REFERENCES members.member,
  answered_at timestamptz NOT NULL
);

GRANT SELECT, INSERT, DELETE ON members.pairing TO tessera_app;
GRANT SELECT, INSERT ON members.pairing_answer TO tessera_app;

-- Where an outlet is, for members who look for one: its town and street, and its place in millionths of a degree.
ALTER TABLE partners.outlet
  ADD COLUMN town text CHECK (length(town) BETWEEN 1 AND 100),
  ADD COLUMN street text CHECK (length(street) BETWEEN 1 AND 200),
  ADD COLUMN latitude_micro int CHECK (latitude_micro BETWEEN -90000000 AND 90000000),
  ADD COLUMN longitude_micro int CHECK (longitude_micro BETWEEN -180000000 AND 180000000),
  ADD CONSTRAINT outlet_place_whole CHECK ((latitude_micro IS NULL) = (longitude_micro IS NULL));
GRANT UPDATE (town, street, latitude_micro, longitude_micro) ON partners.outlet TO tessera_app;

-- Up to when a member was told of points that end, by how long before they are told: so many days.
CREATE TABLE members.expiry_reminder (
  member_id  bigint NOT NULL REFERENCES members.member,
  days       smallint NOT NULL CHECK (days BETWEEN 1 AND 365),
  told_until timestamptz NOT NULL,
  PRIMARY KEY (member_id, days)
);
GRANT SELECT, INSERT ON members.expiry_reminder TO tessera_app;
GRANT UPDATE (told_until) ON members.expiry_reminder TO tessera_app;
