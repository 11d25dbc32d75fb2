"""Filters of what is not trained on: named rules, near duplicates, leaks, secrets, a judge."""
