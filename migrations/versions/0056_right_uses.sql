-- That a till used one of a member's rights, once under its key. holder_id, code and cause say of which row one was used.
CREATE TABLE partners.right_use (
  holder_id   bigint NOT NULL,
  use_no      bigint GENERATED ALWAYS AS IDENTITY,
  code        text NOT NULL,
  cause       uuid NOT NULL,
  member_id   bigint NOT NULL,       -- whom the till had before it; another than the holder where those were merged
  partner_id  int NOT NULL REFERENCES partners.partner,
  client_id   int NOT NULL,
  outlet_id   int NOT NULL REFERENCES partners.outlet,
  terminal_id int REFERENCES partners.terminal,
  at          timestamptz NOT NULL,
  idem_key    uuid NOT NULL UNIQUE,
  fingerprint uuid NOT NULL,
  PRIMARY KEY (holder_id, use_no)
);
GRANT SELECT, INSERT ON partners.right_use TO tessera_app;
