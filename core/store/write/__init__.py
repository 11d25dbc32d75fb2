"""Changes of the log: one writer thread, and everything that runs in its transactions."""
