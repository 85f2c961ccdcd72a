"""The catalogue: all SQL lives here."""
