"""The HTTP API: commands into the log, reads out of the tables."""
