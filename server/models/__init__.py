"""The models of a running server. They are added, replaced and removed while it runs."""
