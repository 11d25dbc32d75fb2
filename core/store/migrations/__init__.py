"""The schema's history. Every change of `tables.py` comes with a revision here."""

HEAD = "0007"
"""The newest revision; a log that has it is opened without loading Alembic."""
