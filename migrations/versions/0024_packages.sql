-- Keys that sign settlement packages. None is ever taken away: what it signed is verified years later.
CREATE TABLE settlement.signing_key (
  key_no     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kid        text NOT NULL UNIQUE,
  public_jwk jsonb NOT NULL,
  sealed_key bytea NOT NULL,
  created_at timestamptz NOT NULL
);
GRANT SELECT, INSERT ON settlement.signing_key TO tessera_app;
