"""The web family: pages as readable text, search, and no way to a private address."""
