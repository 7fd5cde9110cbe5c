"""Documents of supplies: invoices, self-billed documents, credit notes and acts of set-off, with their tax."""
