-- Who sells the plans: the legal entity that stands on invoices, by versions from an instant. Never edited: an invoice
-- keeps the version that held when it was issued.
CREATE TABLE members.seller (
  version      int PRIMARY KEY CHECK (version >= 1),
  valid_from   timestamptz NOT NULL UNIQUE,
  name         text NOT NULL CHECK (name <> ''),
  address      text NOT NULL CHECK (address <> ''),
  registration text NOT NULL,              -- in the register of companies; may be empty
  tax_id       text NOT NULL,              -- for VAT; may be empty
  bank         text NOT NULL,              -- where a payment goes, where nobody is charged; may be empty
  account      text NOT NULL
);
GRANT SELECT, INSERT ON members.seller TO tessera_app;
