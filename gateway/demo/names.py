"""What the demonstration is called, for its own pages and the landing page."""

SOURCE = "84.51° Complete Journey, educational data"
PROGRAMME_NAME = "Tessera demonstration"
INVENTED = "Towns and streets of the outlets are invented"
