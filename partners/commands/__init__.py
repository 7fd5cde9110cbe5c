"""Commands: what people at the operator's own desk ask of partners, their members and the programme."""
