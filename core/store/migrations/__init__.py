"""The history of the schema. Every change of `tables.py` needs a revision here."""

HEAD = "0008"
"""The newest revision. A log that has it is opened without loading Alembic."""
