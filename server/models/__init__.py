"""The models that a running server answers for: added, replaced and removed while it runs."""
