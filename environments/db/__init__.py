"""The database environment: questions and changes in SQL, on a private SQLite per task."""
