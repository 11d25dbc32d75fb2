"""Reads from the log: one thing by its name, or many at once."""
