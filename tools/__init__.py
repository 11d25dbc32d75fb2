"""Hands: the sandboxed actions that a model may take."""
